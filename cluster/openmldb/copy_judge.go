package openmldb

import (
	"errors"
	"strconv"
	"strings"

	"shardsh/cluster/openmldb/rpc"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
)

// Refusals of a tablet that is at a limit (base/status.h): its memory, or the one that the put came with.
const (
	codeMaxMemory      = 160
	codePutMemoryLimit = 164
)

// judge says what the error of a row call means for a work that lasts long.
func judge(err error) transfer.Verdict {
	var e *spec.Error
	switch {
	case errors.Is(err, errChanged):
		return transfer.Again
	case !errors.As(err, &e), errors.Is(err, errClosed):
		return transfer.Fatal
	}
	if framework, is := strings.CutPrefix(e.Code, "brpc "); is {
		number, _, _ := strings.Cut(framework, " ")
		switch code, _ := strconv.Atoi(number); code {
		case rpc.CodeLimit, rpc.CodeOvercrowded, rpc.CodeRejected:
			return transfer.Slow
		}
	} else if hasCode(e, codeMaxMemory) || hasCode(e, codePutMemoryLimit) {
		return transfer.Again // rows expire, and people add memory
	}
	switch e.Kind {
	case spec.Unavailable, spec.UnknownOutcome:
		return transfer.Again
	}
	return transfer.Fatal
}
