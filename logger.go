package oidcsession

import (
	"slices"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// loggers are those of the configurations that share a registry. What the registry has to say goes
// to the log of the configuration in use: the one that opened it may be long gone, and its files
// closed.
type loggers struct {
	mu   sync.Mutex
	used []usedLogger // at least one; the last is the one in use
}

type usedLogger struct {
	owner  *App
	logger *zap.Logger
}

// newLoggers begins with the logger of the configuration that is provisioned.
func newLoggers(a *App) *loggers { return &loggers{used: []usedLogger{{a, a.run.logger}}} }

// use puts the logger of a configuration in use.
func (l *loggers) use(a *App) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used = slices.DeleteFunc(l.used, func(u usedLogger) bool { return u.owner == a })
	l.used = append(l.used, usedLogger{a, a.run.logger})
}

// release takes it out of use, unless no other is left.
func (l *loggers) release(a *App) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.used) > 1 {
		l.used = slices.DeleteFunc(l.used, func(u usedLogger) bool { return u.owner == a })
	}
}

// current returns the one in use.
func (l *loggers) current() usedLogger {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used[len(l.used)-1]
}

// logger returns a logger that writes to the one in use.
func (l *loggers) logger() *zap.Logger { return zap.New(currentCore{from: l}).Named("oidc_session") }

// A currentCore is the core of the logger in use.
type currentCore struct {
	from   *loggers
	fields []zapcore.Field
}

func (c currentCore) current() zapcore.Core {
	return c.from.current().logger.Core().With(c.fields)
}

// Enabled implements [zapcore.Core], as the others do.
func (c currentCore) Enabled(level zapcore.Level) bool { return c.current().Enabled(level) }

// With adds fields.
func (c currentCore) With(fields []zapcore.Field) zapcore.Core {
	return currentCore{c.from, slices.Concat(c.fields, fields)}
}

// Check has the core in use write the entry.
func (c currentCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return c.current().Check(entry, checked)
}

func (c currentCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	return c.current().Write(entry, fields)
}

// Sync flushes what is buffered.
func (c currentCore) Sync() error { return c.current().Sync() }
