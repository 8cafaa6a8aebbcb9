package tablet

import (
	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
)

// Codes of a tablet's answers (OpenMLDB: base/status.h).
const (
	codeError               = -1
	codeOK                  = 0
	codeNoTable             = 100
	codeTableExists         = 101
	codeIsLeader            = 102
	codeIsFollower          = 103
	codeLoading             = 104
	codeNotNormal           = 105
	codeMakingSnapshot      = 106
	codeNotPaused           = 107
	codeNoIndex             = 108
	codeNoKey               = 109
	codeNoSnapshot          = 111
	codeBadDimension        = 115
	codePutFailed           = 116
	codeBadRange            = 117
	codeReplicaExists       = 119
	codeAppendFailed        = 122
	codeReceiverFailed      = 123
	codeNoReceiver          = 124
	codeBlockMismatch       = 125
	codeReceiveFailed       = 126
	codeWriteFailed         = 127
	codeSnapshotSending     = 128
	codeBadMeta             = 129
	codeCreateFailed        = 131
	codeNoFollower          = 134
	codeDeleteFailed        = 136
	codeNoRoot              = 138
	codeDeleteIndexFailed   = 142
	codeAddIndexFailed      = 143
	codeQueryFailed         = 148
	codeEncode              = 152
	codeInvalidArgs         = 161
	codeMemoryLimit         = 164
	codeInvalidParameter    = 307
	codeFollowerCluster     = 453
	codeOperatorUnsupported = 701
)

// status is a code and its text.
type status struct {
	code int32
	text string
}

var (
	ok              = status{codeOK, "ok"}
	noTable         = status{codeNoTable, "table does not exist"}
	tableExists     = status{codeTableExists, "table already exists"}
	isLeader        = status{codeIsLeader, "table is leader"}
	isFollower      = status{codeIsFollower, "table is follower"}
	isLoading       = status{codeLoading, "table is loading"}
	noIndex         = status{codeNoIndex, "idx name not found"}
	invalidArgs     = status{codeInvalidParameter, "invalid args"}
	noRoot          = status{codeNoRoot, "fail to get db root path"}
	followerCluster = status{codeFollowerCluster, "is follower cluster"}
	taskNotAdded    = status{codeError, "add task failed"}
	makingSnapshot  = status{codeMakingSnapshot, "table status is kMakingSnapshot"}
	notNormal       = status{codeNotNormal, "table status is not kNormal"}
	noEngine        = status{codeQueryFailed, "the sandbox has no SQL engine"}
	notPaused       = status{codeNotPaused, "table status is not kSnapshotPaused"}
)

// good says that nothing was refused; a status that was not set is good.
func (s status) good() bool { return s.code == codeOK }

// into writes the status into an answer's fields.
func (s status) into(code **int32, text **string) {
	*code, *text = proto.Int32(s.code), proto.String(s.text)
}

func (s status) general(a *api.GeneralResponse) { s.into(&a.Code, &a.Msg) }
