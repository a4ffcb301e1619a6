// Package notify notifies clients of ended sessions (OpenID Connect Back-Channel Logout 1.0). The
// notices are in the registry: the [Worker] claims those that are due, sends them, and records the
// outcomes there. So a notice outlives a client that is unavailable and a restart of this server.
// It is delivered at least once: when the server stops between an answer and its recording, the
// client is notified again, which does no harm.
//
// It may import registry. Start reading at [Worker].
package notify
