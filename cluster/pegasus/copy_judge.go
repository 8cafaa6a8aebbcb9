package pegasus

import (
	"errors"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
)

func isCode(err error, code string) bool {
	var e *spec.Error
	return errors.As(err, &e) && e.Code == code
}

// judge says what the error of a row call means for a work that lasts long.
func judge(err error) transfer.Verdict {
	var e *spec.Error
	var status storageStatus
	switch {
	case !errors.As(err, &e), errors.Is(err, errClosed), errors.Is(err, errKerberos):
		return transfer.Fatal
	case errors.As(err, &status):
		return status.judge()
	case errors.Is(err, errStalled):
		return transfer.Again
	}
	switch e.Code {
	case wire.CodeBusy, wire.CodeCapacityExceeded, wire.CodeTimeout, wire.CodeTryAgain:
		return transfer.Slow
	case wire.CodeOperationDisabled: // while files are ingested
		return transfer.Again
	case wire.CodeACLDeny, wire.CodeUnauthenticated, wire.CodeHandlerNotFound, wire.CodeInvalidData, wire.CodeInvalidParameters,
		wire.CodeDiskInsufficient:
		return transfer.Fatal
	}
	switch e.Kind {
	case spec.Unavailable, spec.UnknownOutcome:
		return transfer.Again
	}
	return transfer.Fatal
}

// storageStatus is what a storage engine answered, other than that all is well.
type storageStatus int32

func (s storageStatus) Error() string { return "the storage answered " + wire.StatusName(int32(s)) }

func (s storageStatus) judge() transfer.Verdict {
	switch int32(s) {
	case wire.StatusBusy, wire.StatusTimedOut, wire.StatusTryAgain:
		return transfer.Slow
	case wire.StatusCorruption, wire.StatusNotSupported, wire.StatusInvalidArgument, wire.StatusIOError:
		return transfer.Fatal
	}
	return transfer.Again
}
