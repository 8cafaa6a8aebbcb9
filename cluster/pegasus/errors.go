package pegasus

import (
	"context"
	"errors"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// meaning is what an error name of the store means to us.
type meaning struct {
	kind spec.ErrorKind
	why  string
	hint string
	// unsure: a change that got this answer may still have happened.
	unsure bool
}

var meanings = map[string]meaning{
	wire.CodeTimeout: {kind: spec.Unavailable, why: "the server did not finish in time", unsure: true},
	"ERR_REPLICATION_FAILURE": {
		kind: spec.Unavailable, why: "the write was not acknowledged by enough replicas", unsure: true,
	},
	"ERR_ZOOKEEPER_OPERATION":  {kind: spec.Failed, why: "the meta server could not store it", unsure: true},
	"ERR_NETWORK_FAILURE":      {kind: spec.Unavailable, why: "the servers cannot reach each other", unsure: true},
	wire.CodeAppExist:          {kind: spec.Failed, why: "a table of that name exists"},
	wire.CodeAppNotExist:       {kind: spec.NotFound, why: "there is no such table", hint: "ls lists the tables"},
	wire.CodeAppDropped:        {kind: spec.NotFound, why: "the table was dropped", hint: "ls lists the tables"},
	wire.CodeBusyCreating:      {kind: spec.Unavailable, why: "the table is being created", hint: "try again in a moment"},
	wire.CodeBusyDropping:      {kind: spec.Unavailable, why: "the table is being dropped"},
	wire.CodeBusy:              {kind: spec.Unavailable, why: "the request was throttled", hint: "get_app_envs shows the table's limits"},
	wire.CodeObjectNotFound:    {kind: spec.Unavailable, why: "the server does not hold that partition", hint: "showtable shows where it is"},
	wire.CodeInvalidState:      {kind: spec.Unavailable, why: "the server is not the partition's primary, or denies clients", hint: "showtable shows the primary, get_app_envs a replica.deny_client_request"},
	wire.CodeInactiveState:     {kind: spec.Unavailable, why: "the replica is not active"},
	wire.CodeNotEnoughMember:   {kind: spec.Unavailable, why: "too few live replicas to write", hint: "nodes shows the dead ones"},
	wire.CodeCapacityExceeded:  {kind: spec.Unavailable, why: "too many writes are under way", hint: "try again later"},
	wire.CodeTryAgain:          {kind: spec.Unavailable, why: "the server asks to try again"},
	wire.CodeSplitting:         {kind: spec.Unavailable, why: "the table is being split", hint: "try again in a moment"},
	wire.CodeParentMisused:     {kind: spec.Unavailable, why: "the table was just split"},
	wire.CodeChildNotReady:     {kind: spec.Unavailable, why: "the new partition of a split is not ready"},
	wire.CodeDiskInsufficient:  {kind: spec.Failed, why: "the disks of a replica are full", hint: "query_disk shows them"},
	wire.CodeServiceNotActive:  {kind: spec.Unavailable, why: "the service is not active", hint: "a meta server that just started needs a moment; one that lost its metadata waits for recover"},
	wire.CodeUnderRecovery:     {kind: spec.Unavailable, why: "the meta server has lost its metadata and waits for recovery", hint: "recover rebuilds it from the replica servers"},
	wire.CodeServiceRunning:    {kind: spec.Failed, why: "the meta server has its metadata: there is nothing to recover"},
	wire.CodeForward:           {kind: spec.Unavailable, why: "that meta server is not the leader"},
	wire.CodeStateFreezed:      {kind: spec.Failed, why: "the meta server is frozen", hint: "cluster_info shows meta_function_level"},
	wire.CodeOperationDisabled: {kind: spec.Failed, why: "the operation is disabled"},
	wire.CodeHandlerNotFound:   {kind: spec.Failed, why: "the server does not know this call: another role or an older release"},
	wire.CodeInvalidParameters: {kind: spec.Failed, why: "the server refused the parameters"},
	wire.CodeInvalidData:       {kind: spec.Failed, why: "the server refused the data", hint: "a write is limited to 1 MiB (max_allowed_write_size)"},
	wire.CodeACLDeny:           {kind: spec.Failed, why: "access denied"},
	wire.CodeUnauthenticated:   {kind: spec.Unavailable, why: errKerberos.Error(), hint: kerberosHint},
}

const kerberosHint = "use a cluster without authentication, or its own tools"

// codeError makes the error of an answer that carries an error name. hint is the server's own sentence.
func codeError(op, endpoint, code, hint string, change bool) *spec.Error {
	m := meanings[code]
	why := m.why
	if hint != "" {
		why = hint
	}
	if why == "" {
		why = "the server refused"
	}
	kind := m.kind
	if change && m.unsure {
		kind = spec.UnknownOutcome
	}
	return &spec.Error{Kind: kind, Op: op, Endpoint: endpoint, Code: code, Err: errors.New(why), Hint: m.hint}
}

// failure turns the error of a call into the one that is answered.
func failure(op string, change bool, err error) error {
	var known *spec.Error
	var lost *lostError
	var rejected *rejectedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case errors.As(err, &rejected):
		return codeError(op, rejected.endpoint, rejected.code, "", change)
	case errors.As(err, &lost):
		return lostFailure(op, change, lost)
	case errors.Is(err, context.Canceled):
		return &spec.Error{Kind: spec.Interrupted, Op: op, Err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &spec.Error{Kind: spec.Unavailable, Op: op, Err: err}
	}
	return &spec.Error{Kind: spec.Failed, Op: op, Err: err}
}

func lostFailure(op string, change bool, lost *lostError) error {
	e := &spec.Error{Kind: spec.Unavailable, Op: op, Endpoint: lost.endpoint, Err: lost.err}
	switch {
	case errors.Is(lost.err, errKerberos):
		return e.WithHint(kerberosHint)
	case change && lost.sent:
		e.Kind = spec.UnknownOutcome
		return e.WithHint("read it back before doing it again")
	case errors.Is(lost.err, context.Canceled):
		e.Kind = spec.Interrupted
		return e
	case errors.Is(lost.err, errClosed):
		return e
	case errors.Is(lost.err, context.DeadlineExceeded):
		return e.WithHint("nodes shows who is alive; `option timeout` allows more time")
	}
	return e.WithHint("nodes shows who is alive")
}

// malformed is an answer that was decoded but makes no sense.
func malformed(op, endpoint, format string, args ...any) error {
	e := spec.Errorf(spec.Failed, "the answer makes no sense: "+format, args...)
	e.Op, e.Endpoint = op, endpoint
	return e
}
