package wire

import (
	"net"
	"strconv"
)

// Calls to the meta server that load files of rows into tables.

// BulkLoadStatus is where the bulk load of a table, or of one of its partitions, stands.
type BulkLoadStatus int32

// The states of a bulk load.
const (
	BulkInvalid BulkLoadStatus = iota // there is none
	BulkDownloading
	BulkDownloaded
	BulkIngesting
	BulkSucceed
	BulkFailed
	BulkPausing
	BulkPaused
	BulkCanceled
)

// BulkLoadControl is what ControlBulkLoad does.
type BulkLoadControl int32

// The ways to control a bulk load.
const (
	BulkPause BulkLoadControl = iota
	BulkRestart
	BulkCancel
	BulkForceCancel
)

// IngestStatus is what has become of the files of a replica.
type IngestStatus int32

// The states of an ingestion.
const (
	IngestInvalid IngestStatus = iota
	IngestRunning
	IngestSucceed
	IngestFailed
)

// StartBulkLoadRequest loads what is under root/cluster/table on a block service. With Behind the rows that there are win.
type StartBulkLoadRequest struct {
	AppName, Cluster, Provider, Root string
	Behind                           bool
}

// ControlBulkLoadRequest pauses, restarts or cancels.
type ControlBulkLoadRequest struct {
	AppName string
	Control BulkLoadControl
}

// BulkLoadResponse answers ControlBulkLoad; ERR_INACTIVE_STATE when nothing is loaded.
type BulkLoadResponse struct {
	Err  string
	Hint *string
}

// QueryBulkLoadRequest asks how the load of a table stands.
type QueryBulkLoadRequest struct{ AppName string }

// BulkLoadState is how far a replica is.
type BulkLoadState struct {
	Progress       *int32 // percent of the download
	DownloadStatus *string
	Ingest         *IngestStatus
	CleanedUp      *bool
	Paused         *bool
}

// QueryBulkLoadResponse answers by partition. Hosts, of 2.6, is States by host names ("host:port"); nil when absent.
type QueryBulkLoadResponse struct {
	Err, AppName string
	Status       BulkLoadStatus
	Partitions   []BulkLoadStatus
	MaxReplicas  int32
	States       []map[Address]BulkLoadState
	Hint         *string
	Loading      *bool
	Hosts        []map[string]BulkLoadState
}

// ClearBulkLoadRequest forgets how the last load of a table ended.
type ClearBulkLoadRequest struct{ AppName string }

var (
	bulkStatusType    = enumType[BulkLoadStatus]("bulk_load_status")
	startBulkLoadType = structOf("start_bulk_load_request",
		req(1, "app_name", stringType, func(m *StartBulkLoadRequest) *string { return &m.AppName }),
		req(2, "cluster_name", stringType, func(m *StartBulkLoadRequest) *string { return &m.Cluster }),
		req(3, "file_provider_type", stringType, func(m *StartBulkLoadRequest) *string { return &m.Provider }),
		req(4, "remote_root_path", stringType, func(m *StartBulkLoadRequest) *string { return &m.Root }),
		req(5, "ingest_behind", boolType, func(m *StartBulkLoadRequest) *bool { return &m.Behind }),
	)
	controlBulkLoadType = structOf("control_bulk_load_request",
		req(1, "app_name", stringType, func(m *ControlBulkLoadRequest) *string { return &m.AppName }),
		req(2, "type", enumType[BulkLoadControl]("bulk_load_control_type"), func(m *ControlBulkLoadRequest) *BulkLoadControl { return &m.Control }),
	)
	bulkLoadResultType = structOf("control_bulk_load_response",
		req(1, "err", codeType, func(m *BulkLoadResponse) *string { return &m.Err }),
		ptr(2, "hint_msg", stringType, func(m *BulkLoadResponse) **string { return &m.Hint }),
	)
	queryBulkLoadType = structOf("query_bulk_load_request",
		req(1, "app_name", stringType, func(m *QueryBulkLoadRequest) *string { return &m.AppName }),
	)
	bulkStateType = structOf("partition_bulk_load_state",
		ptr(1, "download_progress", i32Type, func(m *BulkLoadState) **int32 { return &m.Progress }),
		ptr(2, "download_status", codeType, func(m *BulkLoadState) **string { return &m.DownloadStatus }),
		ptr(3, "ingest_status", enumType[IngestStatus]("ingestion_status"), func(m *BulkLoadState) **IngestStatus { return &m.Ingest }),
		ptr(4, "is_cleaned_up", boolType, func(m *BulkLoadState) **bool { return &m.CleanedUp }),
		ptr(5, "is_paused", boolType, func(m *BulkLoadState) **bool { return &m.Paused }),
	)
	// hostKeyType is a host_port that keys a map: its text.
	hostKeyType = Type[string]{
		"host_port", kindStruct, hostPortType.least,
		func(b []byte, v *string) []byte {
			h := hostOf(*v)
			return hostPortType.write(b, &h)
		},
		func(d *decoder, v *string) {
			var h HostPort
			hostPortType.read(d, &h)
			*v = h.String()
		},
		nil,
	}
	queryBulkLoadResultType = structOf("query_bulk_load_response",
		req(1, "err", codeType, func(m *QueryBulkLoadResponse) *string { return &m.Err }),
		req(2, "app_name", stringType, func(m *QueryBulkLoadResponse) *string { return &m.AppName }),
		req(3, "app_status", bulkStatusType, func(m *QueryBulkLoadResponse) *BulkLoadStatus { return &m.Status }),
		req(4, "partitions_status", listOf(bulkStatusType), func(m *QueryBulkLoadResponse) *[]BulkLoadStatus { return &m.Partitions }),
		req(5, "max_replica_count", i32Type, func(m *QueryBulkLoadResponse) *int32 { return &m.MaxReplicas }),
		req(6, "bulk_load_states", listOf(mapOf(addressType, bulkStateType)), func(m *QueryBulkLoadResponse) *[]map[Address]BulkLoadState { return &m.States }),
		ptr(7, "hint_msg", stringType, func(m *QueryBulkLoadResponse) **string { return &m.Hint }),
		ptr(8, "is_bulk_loading", boolType, func(m *QueryBulkLoadResponse) **bool { return &m.Loading }),
		opt(9, "hp_bulk_load_states", listOf(mapOf(hostKeyType, bulkStateType)), func(m *QueryBulkLoadResponse) *[]map[string]BulkLoadState { return &m.Hosts },
			func(m *QueryBulkLoadResponse) bool { return m.Hosts != nil }),
	)
	clearBulkLoadType = structOf("clear_bulk_load_state_request",
		req(1, "app_name", stringType, func(m *ClearBulkLoadRequest) *string { return &m.AppName }),
	)
)

// hostOf is the host_port of a "host:port", the invalid one for anything else.
func hostOf(text string) HostPort {
	host, port, err := net.SplitHostPort(text)
	n, wrong := strconv.ParseUint(port, 10, 16)
	if err != nil || wrong != nil || host == "" {
		return HostPort{}
	}
	return HostPort{Host: host, Port: uint16(n), Type: 1}
}

// The calls about bulk loads. They answer before anything has happened.
var (
	StartBulkLoad   = RPC[StartBulkLoadRequest, HintResponse]{"RPC_CM_START_BULK_LOAD", true, false, startBulkLoadType, hintType}
	ControlBulkLoad = RPC[ControlBulkLoadRequest, BulkLoadResponse]{"RPC_CM_CONTROL_BULK_LOAD", true, false, controlBulkLoadType, bulkLoadResultType}
	QueryBulkLoad   = RPC[QueryBulkLoadRequest, QueryBulkLoadResponse]{"RPC_CM_QUERY_BULK_LOAD_STATUS", false, false, queryBulkLoadType, queryBulkLoadResultType}
	ClearBulkLoad   = RPC[ClearBulkLoadRequest, HintResponse]{"RPC_CM_CLEAR_BULK_LOAD", true, false, clearBulkLoadType, hintType}
)

func bulkCalls() []call {
	return []call{&StartBulkLoad, &ControlBulkLoad, &QueryBulkLoad, &ClearBulkLoad}
}

var bulkStatusNames = [...]string{
	"BLS_INVALID", "BLS_DOWNLOADING", "BLS_DOWNLOADED", "BLS_INGESTING", "BLS_SUCCEED", "BLS_FAILED", "BLS_PAUSING", "BLS_PAUSED", "BLS_CANCELED",
}

func (s BulkLoadStatus) String() string { return nameOf(bulkStatusNames[:], int32(s)) }
