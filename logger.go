package oidcsession

import (
	"slices"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// loggers are those of the configurations that share a registry, which logs to that of the
// configuration in use: the one that opened it may be gone, and its files closed.
type loggers struct {
	mu   sync.Mutex
	used []*App // at least one; the last is the one in use
}

// use puts a configuration in use.
func (l *loggers) use(a *App) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used = append(slices.DeleteFunc(l.used, a.is), a)
}

// release takes it out of use, unless no other is left.
func (l *loggers) release(a *App) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.used) > 1 {
		l.used = slices.DeleteFunc(l.used, a.is)
	}
}

// current returns the one in use.
func (l *loggers) current() *App {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used[len(l.used)-1]
}

func (a *App) is(other *App) bool { return a == other }

// logger returns a logger that writes to the one in use.
func (l *loggers) logger() *zap.Logger {
	return zap.New(currentCore{from: l}).Named("oidc_session")
}

// A currentCore is the core of the logger in use.
type currentCore struct {
	from   *loggers
	fields []zapcore.Field
}

func (c currentCore) current() zapcore.Core {
	return c.from.current().run.logger.Core().With(c.fields)
}

// Enabled implements [zapcore.Core], as the methods below do.
func (c currentCore) Enabled(level zapcore.Level) bool { return c.current().Enabled(level) }

func (c currentCore) With(fields []zapcore.Field) zapcore.Core {
	return currentCore{c.from, slices.Concat(c.fields, fields)}
}

func (c currentCore) Check(
	entry zapcore.Entry, checked *zapcore.CheckedEntry,
) *zapcore.CheckedEntry {
	return c.current().Check(entry, checked)
}

func (c currentCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	return c.current().Write(entry, fields)
}

func (c currentCore) Sync() error { return c.current().Sync() }
