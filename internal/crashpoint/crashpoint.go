// Package crashpoint names the moments at which a crash is most telling, so
// that the crash test can end the process at each of them.
//
// In a normal build there is nothing of it: Reach is empty, and the file
// operations are those of the system. In a build with the tag "crashpoints"
// the process ends itself with SIGKILL when it reaches a step for the nth time,
// as the environment variable POSTERN_CRASH_AT says: "before-250:3" is the
// third time that Reach(Before250) is called, "any:100" the hundredth step of
// all. Beside the steps named here, each operation of the store and the journal
// on a file is a step before and one after it, such as "before wal sync"; so
// between any two steps of the two nothing happens to the disk. Each step says
// on standard error when it is reached first, and when it ends the process.
//
// It is no way to test errors: a step does not fail, the process does not come
// back from it. In a build with the tag, a variable that cannot be read ends
// the process at once.
package crashpoint

// Step is a moment between two things that a message depends on.
type Step string

// The steps; Steps says what each stands between.
const (
	Opened     Step = "opened"
	Stored     Step = "stored"
	Committed  Step = "committed"
	Before250  Step = "before-250"
	Replied    Step = "replied"
	Claimed    Step = "claimed"
	Answered   Step = "answered"
	Settled    Step = "settled"
	Copied     Step = "copied"
	Moved      Step = "moved"
	Unreferred Step = "unreferred"
)

// Steps is the list of all steps that have a name of their own.
var Steps = []struct {
	Step    Step
	Between string
}{
	{Opened, "journal and queue are open, and not yet matched"},
	{Stored, "a content is in the body log, and the commit that refers to it has not begun"},
	{Committed, "a commit is durable, and neither the index nor any caller knows it"},
	{Before250, "a message is stored, and its client was not told"},
	{Replied, "a client has been sent a reply, such as the 250 to a message, and nothing more was read from it"},
	{Claimed, "deliveries are claimed, and nobody was connected to"},
	{Answered, "the next server has answered, and nothing of that is settled"},
	{Settled, "the outcome of an attempt is settled, and nothing more was done"},
	{Copied, "facts are in the journal, and the queue still has them"},
	{Moved, "a content was copied to another segment, and the database names the old one"},
	{Unreferred, "a commit has removed the last use of a content, and its space is not yet free"},
}
