package main

import (
	"fmt"
	"testing"
	"time"
)

// benchmark measures one function in this process. The function returns an error instead of
// calling b.Fatal, which says nothing outside of go test.
func benchmark(name string, fn func(b *testing.B) error) (testing.BenchmarkResult, error) {
	var err error
	result := testing.Benchmark(func(b *testing.B) {
		if err = fn(b); err != nil {
			b.FailNow()
		}
	})
	if err == nil && result.N == 0 {
		err = fmt.Errorf("it failed")
	}
	if err != nil {
		return result, fmt.Errorf("%s: %w", name, err)
	}
	return result, nil
}

// perOp is the time of one operation; unlike NsPerOp, with its fractions.
func perOp(result testing.BenchmarkResult) float64 {
	return float64(result.T.Nanoseconds()) / float64(result.N)
}

// costs says what an operation costs.
func costs(result testing.BenchmarkResult) string {
	ns := perOp(result)
	if ns < 1000 {
		return fmt.Sprintf("%.1f ns, %d allocations", ns, result.AllocsPerOp())
	}
	return fmt.Sprintf("%v, %d allocations", time.Duration(ns).Round(10*time.Nanosecond), result.AllocsPerOp())
}
