// Package notify notifies clients of ended sessions as OpenID Connect Back-Channel Logout 1.0 has
// it. What is owed is in the registry: the [Worker] claims there what is due, sends it, and has
// recorded what became of it. So a notice outlives a client that is unavailable and a restart of
// this server. It is delivered at least once: when the server ends between an answer and its
// recording, the client is notified again, which is no harm to it.
//
// It may import registry. Start reading at [Worker].
package notify
