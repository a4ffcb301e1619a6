//go:build !linux

package main

import (
	"context"
	"errors"
	"time"
)

// A process is a server under measurement.
type process struct{}

func startProcess(string, []string, string, ...string) (*process, error) {
	return nil, errors.ErrUnsupported // the CPU time is read from /proc
}

func (*process) stop() {}

func (*process) await(context.Context, func() bool) error { return errors.ErrUnsupported }

func (*process) cpuTime() (int64, error) { return 0, errors.ErrUnsupported }

func threadCPUTime() (int64, error) { return 0, errors.ErrUnsupported }

func machineTime() (busy, all time.Duration, err error) { return 0, 0, errors.ErrUnsupported }

func ownTime() time.Duration { return 0 }
