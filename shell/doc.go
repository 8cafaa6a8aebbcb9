// Package shell is the loop between people and commands: it reads lines, finds the word, asks for confirmation, applies
// plans, keeps the audit log, and hands tables to a renderer. It is the only package that knows terminals, formats, exit
// codes and files of the user; it knows no store.
//
//	shell.go     Shell: what one process holds; Run
//	cli.go       the program's own flags and modes
//	session.go   cluster, table, variables, options; opening clusters for commands
//	commands.go  the list of words
//	resolve.go   words → Call
//	run.go       Call → Query → render, or Call → Change → plan.go
//	plan.go      show, confirm, apply
//	holds.go     settings kept while a plan runs
//	audit.go     what was changed, by whom, how it ended
//	exit.go      the one place where errors become text and exit codes
//	builtin_*.go words that touch the loop itself
package shell
