package shell

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"shardsh/commands/spec"
	"shardsh/shell/render"
)

// Exit codes of the program, and of a script (the code of its first failure).
const (
	ExitDone        = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitPartly      = 3
	ExitUnreachable = 4
	ExitRefused     = 5
	ExitUnknown     = 6
	ExitNo          = 7
	ExitPipe        = 141 // standard output was closed, as a shell reports SIGPIPE
	ExitInterrupted = 130
	ExitTerminated  = exitSignal + 15 // SIGTERM

	exitSignal = 128 // plus the number of the signal that ended the program, as shells report it
)

// exitMeanings documents the codes for `help exit-codes`.
var exitMeanings = []struct {
	Code  int
	Means string
}{
	{ExitDone, "done"},
	{ExitFailed, "failed: the cluster said no, or something broke"},
	{ExitUsage, "the line is wrong, or the store has no such thing; nothing was sent"},
	{ExitPartly, "some of it happened"},
	{ExitUnreachable, "the cluster could not be reached"},
	{ExitRefused, "refused: not confirmed, blocked or read-only; nothing was sent"},
	{ExitUnknown, "a change was sent and its outcome is not known"},
	{ExitNo, "a check ran and answered no"},
	{ExitInterrupted, "interrupted by Ctrl-C"},
	{ExitPipe, "standard output was closed by its reader"},
	{ExitTerminated, "ended by a signal"},
}

// ExitCode maps an error to the code of the process.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return ExitDone
	case errors.Is(err, syscall.EPIPE):
		return ExitPipe
	}
	switch spec.KindOf(err) {
	case spec.Usage, spec.Unable:
		return ExitUsage
	case spec.PartlyDone:
		return ExitPartly
	case spec.Unavailable:
		return ExitUnreachable
	case spec.Refused:
		return ExitRefused
	case spec.UnknownOutcome:
		return ExitUnknown
	case spec.AnsweredNo:
		return ExitNo
	case spec.Interrupted:
		return ExitInterrupted
	case spec.Failed, spec.NotFound:
	}
	return ExitFailed
}

func cutLast(text, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(text, sep); i >= 0 {
		return text[:i], text[i+len(sep):], true
	}
	return text, "", false
}

// printError writes an error for people, or as one JSON object when the output is for machines.
func printError(w io.Writer, where string, err error, asJSON bool) {
	if errors.Is(err, syscall.EPIPE) {
		return
	}
	if asJSON {
		object := map[string]any{
			"message_type": "error", "kind": spec.KindOf(err).String(), "code": ExitCode(err), "message": err.Error(),
		}
		if where != "" {
			object["where"] = where
		}
		if hint := spec.HintOf(err); hint != "" {
			object["hint"] = hint
		}
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		if encoder.Encode(object) != nil {
			return // standard error is gone: there is nowhere left to say so
		}
		return
	}
	text := err.Error()
	if where != "" { // file:line: command
		_, command, _ := cutLast(where, ": ")
		text = where + ": " + strings.TrimPrefix(text, command+": ")
	}
	fmt.Fprintln(w, render.Escape(text))
	if hint := spec.HintOf(err); hint != "" {
		fmt.Fprintf(w, "  hint: %s\n", render.Escape(hint))
	}
}
