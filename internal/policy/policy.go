// Package policy decides about clients and their mail: which may connect, who
// may send what to whom, and what is done with it.
//
// The administrator writes handlers, and readable settings that stand for
// handlers. Compile checks them all at once, and makes an immutable Engine of
// them, as part of the settings of a server. Each SMTP session has a Session,
// which is asked at every command; it answers with a Decision, and at RCPT and
// DATA with a Treatment for each recipient. What was decided by which rule is
// the trail.
//
// How one handler is chosen of many, what each step does and which attributes
// there are, docs/policy.md tells; its tables are made from those of this
// package (steps.go, attributes.go).
//
// The package opens nothing and sends nothing: lists, rates and what is in a
// message it gets through the interfaces it declares. What is wrong in a
// configuration becomes config.Problems with place and hint. Where a condition
// fails at run time or costs too much, the client is told to come back later
// (451 4.7.1), and trail and log tell why: an error never lets mail pass, and
// never refuses it for good.
package policy
