package openmldb

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"shardsh/cluster/openmldb/rpc"
	"shardsh/commands/spec"
)

// Codes that decide what is done next.
const (
	codeNoTable     = 100
	codeTableExists = 101
	codeIsFollower  = 103
	codeNoIndex     = 108
	codeNoKey       = 109
	codeNoFollower  = 134
	codeDeleteOp    = 136
	codeNotLeader   = 300
	codeBadArgument = 307
	codeDenied      = rpc.CodeAuth
)

// lostError says that no usable answer came.
type lostError struct {
	endpoint string
	sent     bool // the server may have the request
	err      error
}

func (e *lostError) Error() string { return e.endpoint + ": " + e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// refusal is an answer whose code is not 0: the framework's, or the service's own.
type refusal struct {
	endpoint  string
	code      int32
	text      string
	framework bool
}

func (e *refusal) Error() string { return e.endpoint + ": " + e.name() }

// name is the number and what the server says about it.
func (e *refusal) name() string { return strings.TrimSpace(fmt.Sprint(e.code, " ", e.text)) }

// meaning is what a code means to us.
type meaning struct {
	kind spec.ErrorKind
	hint string
	// unsure: a change that got this answer may still have happened, in part or in whole.
	unsure bool
	// text is said when the server says nothing.
	text string
}

const (
	seeTables  = "showtable lists the tables"
	seeTablets = "showtablet shows which tablets there are, and their state"
	seeOps     = "showopstatus shows the operations"
)

// meanings are those of the service's own codes (base/status.h); what is missing is a plain failure.
var meanings = map[int32]meaning{
	100:             {kind: spec.NotFound, hint: seeTables, text: "the table does not exist"},
	codeTableExists: {text: "the table exists"},
	102:             {text: "the replica is the leader"},
	codeIsFollower:  {kind: spec.Unavailable, hint: "showtable shows the leaders", text: "the replica is a follower"},
	104:             {kind: spec.Unavailable, hint: "gettablestatus shows when it has loaded", text: "the table is loading"},
	105:             {kind: spec.Unavailable, hint: "gettablestatus shows its state", text: "the table is not in its normal state"},
	106:             {kind: spec.Unavailable, hint: "try again in a moment", text: "a snapshot is being made"},
	codeNoIndex:     {kind: spec.NotFound, hint: "showschema lists the indexes", text: "there is no such index"},
	codeNoKey:       {kind: spec.NotFound, text: "there is no such key"},
	110:             {text: "there is no replicator"},
	119:             {text: "the replica is already there"},
	121:             {kind: spec.Unavailable, text: "the replica does not lead"},
	128:             {kind: spec.Unavailable, text: "the snapshot is being sent"},
	codeNoFollower:  {text: "the partition has no follower"},
	155:             {kind: spec.NotFound, hint: "showtablet and showns list the servers"},
	160:             {hint: "the tablet is at its memory limit (max_memory_mb)", text: "the tablet's memory limit is exceeded"},
	164:             {hint: "the tablet is at its memory limit (max_memory_mb)"},
	codeNotLeader:   {kind: spec.Unavailable, text: "the nameserver does not lead"},
	301:             {hint: "this needs it off: confset auto_failover false, and true again afterwards", text: "auto_failover is on"},
	302:             {kind: spec.NotFound, hint: seeTablets, text: "there is no such tablet"},
	303:             {kind: spec.Unavailable, hint: seeTablets, text: "the tablet is not healthy"},
	304:             {unsure: true, hint: "look whether it was done before doing it again", text: "the nameserver could not write to ZooKeeper"},
	305:             {hint: "showtable and showtablet show whether its nodes are up", text: "the operation could not be planned"},
	306:             {unsure: true, hint: seeOps, text: "the operation could not be written to ZooKeeper"},
	codeBadArgument: {text: "the nameserver refuses the parameters"},
	308:             {kind: spec.NotFound, hint: "showtable TABLE shows its partitions", text: "there is no such partition"},
	309:             {hint: "name a candidate, or auto, to replace a leader that is alive", text: "the leader is alive"},
	310:             {hint: "showtable shows the replicas; a partition without a live one is recovered by hand", text: "no follower is alive"},
	311:             {text: "the replica is alive and needs no recovery"},
	312:             {hint: seeOps, text: "the operation is not under way"},
	313:             {hint: "showtable shows what is left of it"},
	317:             {text: "the replica is already there"},
	318:             {kind: spec.Unavailable, hint: seeTablets, text: "the source is not healthy"},
	319:             {kind: spec.Unavailable, hint: seeTablets, text: "the destination is not healthy"},
	326:             {kind: spec.Unavailable, text: "the nameserver cannot reach ZooKeeper"},
	327:             {kind: spec.Unavailable, hint: seeTablets, text: "a tablet did not answer the nameserver"},
	334:             {hint: seeOps + " of the table", text: "an operation is under way"},
	336:             {kind: spec.Unavailable, hint: seeTablets},
	404:             {kind: spec.NotFound, hint: "showrepcluster lists them", text: "there is no such replica cluster"},
	450:             {unsure: true, text: "the nameserver could not write to ZooKeeper"},
	451:             {unsure: true, text: "the nameserver could not read ZooKeeper"},
	452:             {unsure: true, text: "the nameserver could not delete from ZooKeeper"},
	453:             {hint: "write to the cluster that it follows", text: "the cluster follows another one"},
	454:             {hint: "switchmode leader makes it one that others follow", text: "the cluster is not in leader mode"},
	801:             {text: "the database exists"},
	802:             {kind: spec.NotFound, hint: "showdb lists the databases", text: "there is no such database"},
	803:             {hint: "drop its tables first", text: "the database is not empty"},
	1101:            {hint: "the user lacks the privilege"},
}

// frameworkMeanings are those of brpc's codes. The request was not carried out where unsure is not set.
var frameworkMeanings = map[int32]meaning{
	rpc.CodeNoService:   {hint: "it is a server of another role, or of an older release"},
	rpc.CodeNoMethod:    {hint: "it is a server of an older release"},
	rpc.CodeBadRequest:  {},
	codeDenied:          {hint: "set user and password_file in the cluster's section of config.ini"},
	rpc.CodeOvercrowded: {kind: spec.Unavailable, hint: "try again later"},
	rpc.CodeRejected:    {kind: spec.Unavailable, hint: "try again later"},
	rpc.CodeLimit:       {kind: spec.Unavailable, hint: "the server is at its limit of concurrent calls; try again later"},
	rpc.CodeLogoff:      {kind: spec.Unavailable, hint: "the server is stopping"},
}

func (e *refusal) meaning() meaning {
	if !e.framework {
		m := meanings[e.code]
		switch {
		case e.code == codeTableExists && strings.Contains(e.text, "does not exist"):
			return meanings[codeNoTable] // what UpdateTTL answers
		case e.code == codeDeleteOp && strings.Contains(e.text, "op id"):
			return meaning{kind: spec.NotFound, hint: seeOps}
		}
		return m
	}
	if m, known := frameworkMeanings[e.code]; known {
		return m
	}
	return meaning{kind: spec.Unavailable, unsure: true}
}

// undone says that a refused request was not looked at, and may be sent again.
func (e *refusal) undone() bool {
	return !e.framework && e.code == codeNotLeader || e.framework && e.code == rpc.CodeLogoff
}

// refused makes the error of a refusal.
func refused(op string, change bool, r *refusal) *spec.Error {
	m := r.meaning()
	e := &spec.Error{Kind: m.kind, Op: op, Endpoint: r.endpoint, Hint: m.hint}
	if r.text == "" {
		r = &refusal{endpoint: r.endpoint, code: r.code, text: m.text, framework: r.framework}
	}
	if e.Code = r.name(); r.framework {
		e.Code = "brpc " + e.Code
	}
	if change && m.unsure {
		e.Kind = spec.UnknownOutcome
		e.Hint = "read it back before doing it again"
	}
	return e
}

// failure turns the error of a call into the one that is answered.
func failure(op string, change bool, err error) error {
	var known *spec.Error
	var lost *lostError
	var r *refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		if known.Op == "" {
			with := *known
			with.Op = op
			return &with
		}
		return err
	case errors.As(err, &r):
		return refused(op, change, r)
	case errors.As(err, &lost):
		return lostFailure(op, change, lost)
	}
	return &spec.Error{Kind: spec.KindOf(err), Op: op, Err: err}
}

func lostFailure(op string, change bool, lost *lostError) error {
	e := &spec.Error{Kind: spec.Unavailable, Op: op, Endpoint: lost.endpoint, Err: lost.err}
	switch {
	case change && lost.sent:
		e.Kind = spec.UnknownOutcome
		return e.WithHint("read it back before doing it again")
	case errors.Is(lost.err, context.Canceled):
		e.Kind = spec.Interrupted
		return e
	case errors.Is(lost.err, errClosed):
		return e
	case errors.Is(lost.err, context.DeadlineExceeded):
		return e.WithHint("showtablet shows who is alive; `option timeout` allows more time")
	}
	return e.WithHint("showtablet shows who is alive")
}

// malformed is an answer that was decoded but makes no sense.
func malformed(op, endpoint, format string, args ...any) error {
	e := spec.Errorf(spec.Failed, "the answer makes no sense: "+format, args...)
	e.Op, e.Endpoint = op, endpoint
	return e
}

// maxText bounds what is repeated of a server's words.
const maxText = 300

// said is a server's words, made fit to be shown.
func said(text string) string {
	text = strings.ToValidUTF8(strings.TrimSpace(text), "�")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}
