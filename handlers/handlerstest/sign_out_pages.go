package handlerstest

import (
	"go.uber.org/zap"
)

// WithOutcome are the lines that the log has of requests that came to an end.
func (x *Exit) WithOutcome(outcome string) []map[string]any {
	var lines []map[string]any
	for _, entry := range x.W.Logs.FilterMessage("end_session").FilterField(zap.String("outcome", outcome)).All() {
		fields := entry.ContextMap()
		fields["level"] = entry.Level
		lines = append(lines, fields)
	}
	return lines
}
