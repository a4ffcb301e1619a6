// Package registry is the durable record of sessions: who signed in where, by which codes, what
// has ended, and which clients are owed a notification of it.
//
// All that is known of one browser at one issuer is one record, which is replaced as a whole. What
// becomes of it is decided by the rules of this package (join.go, redeem.go, end.go, notice.go):
// plain functions on the record, without a store, a clock or a context. [Registry] applies them to
// the records of a [Store]; registry/bolt and registry/memory are the embedded ones, and
// registry/storetest holds the test that every store passes.
//
// Start reading at [Registry]; record.go has the record.
package registry
