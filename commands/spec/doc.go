// Package spec is the vocabulary the whole program is written in, and the first file to read.
//
// One value flows one way:
//
//	a line ──split──▶ words ──resolve──▶ Call ──Command──▶ Table ──▶ renderer
//	                                                  └──▶ Plan  ──▶ confirm ▶ apply ▶ audit ▶ Table ──▶ renderer
//
// A Command describes one word of the shell: how it is spelled, which arguments and flags it takes, and either a Query
// (reads, answers a Table) or a Change (answers a Plan). Help, completion, validation and redaction are all derived
// from the description, so a word is one file and one line in a list.
//
// Three rules make the program safe by construction rather than by care:
//
//   - A command never prints. It returns a value; only the shell knows about formats and terminals.
//   - A Change changes nothing. It looks, and returns what would be done as a Plan; only the shell applies one. Dry run,
//     confirmation, read-only mode, audit and holds therefore exist once and cannot be forgotten by a command.
//   - Plans are never stored. To resume is to plan again from the state observed, so a planner must converge: when half
//     of the work is done it plans the other half, and when all of it is done it plans nothing.
//
// The package is a leaf: it imports nothing of ours, and knows no system.
package spec
