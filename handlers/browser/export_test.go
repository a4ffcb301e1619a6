package browser

// What the tests beside this package use of it.

const HashedClient = hashedClient

const PendingPurpose = pendingPurpose

const PendingHead = pendingHead

const SessionPurpose = sessionPurpose

const SessionSizeFull = sessionSizeFull
