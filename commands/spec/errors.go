package spec

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ErrorKind says what sort of failure it was; the shell maps it to an exit code in exactly one place.
type ErrorKind int

const (
	Failed         ErrorKind = iota // the cluster said no, or something broke
	Usage                           // the line is wrong; nothing was sent
	NotFound                        // the object named does not exist
	Unable                          // this system has no such thing (a usage error that names who has)
	Refused                         // not confirmed, blocked, or read-only; nothing was sent
	Unavailable                     // the endpoint could not be reached, or is not ready
	PartlyDone                      // some of it happened
	UnknownOutcome                  // a change was sent and no answer came: it may or may not have happened
	AnsweredNo                      // a check ran well and its answer is no
	Interrupted                     // Ctrl-C, or a signal
)

var errorKindNames = [...]string{
	"failed", "usage", "not_found", "unable", "refused", "unavailable", "partly_done", "outcome_unknown", "answered_no", "interrupted",
}

func (k ErrorKind) String() string { return errorKindNames[k] }

// Error says what was attempted, on which endpoint, why it failed and what to do next.
type Error struct {
	Kind     ErrorKind
	Op       string // what was attempted: "create table TableA"
	Endpoint string // host:port it was attempted on, "" when none was involved
	Code     string // the store's own name of the error ("ERR_APP_EXIST"), "" when it has none
	Err      error  // why
	Hint     string // what to do next: a sentence without a full stop, or a command line
}

func (e *Error) Error() string {
	var parts []string
	for _, part := range []string{e.Op, e.Endpoint} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	why := ""
	if e.Err != nil {
		why = e.Err.Error()
	}
	if e.Code != "" {
		why = strings.TrimSuffix(e.Code+": "+why, ": ")
	}
	if e.Kind == UnknownOutcome && !strings.Contains(why, "outcome unknown: ") {
		why = strings.TrimSuffix("outcome unknown: "+why, ": ")
	}
	return strings.Join(append(parts, why), ": ")
}

func (e *Error) Unwrap() error { return e.Err }

// WithHint sets what to do next and returns e.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// Errorf makes an error of a kind; %w wraps as in fmt.
func Errorf(kind ErrorKind, format string, args ...any) *Error {
	return &Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// KindOf returns the kind of the first Error in the chain. A cancelled context is Interrupted, a passed deadline
// Unavailable, anything else Failed.
func KindOf(err error) ErrorKind {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.Canceled):
		return Interrupted
	case errors.Is(err, context.DeadlineExceeded):
		return Unavailable
	}
	return Failed
}

// HintOf returns the first hint in the chain, "" when there is none.
func HintOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}
