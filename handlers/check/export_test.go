package check

// What the tests beside this package use of it.

// A Question is a question as it was read.
type Question = question

// Form is a question's parameters, in the order of handlerstest.PageCheck.
func (q question) Form() (clientID, sessionState, origin, browserState string) {
	return q.clientID, q.sessionState, q.origin, q.browserState
}

// ReadQuestion is readQuestion.
var ReadQuestion = readQuestion

// Rates.
const (
	PerAddress      = perAddress
	BurstPerAddress = burstPerAddress
)
