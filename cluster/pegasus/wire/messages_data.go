package wire

// Data calls, to the primary of a partition. Keys are full keys (EncodeKey) unless a name says otherwise; ExpireTS
// counts seconds of the Pegasus epoch (ExpireTS, 0 = never). Error is a RocksDB status (StatusName).

// KeyValue is a row. Key is a sort key in multi_put and multi_get, a full key in scans.
type KeyValue struct {
	Key, Value []byte
	ExpireTS   int32 // absent on the wire when 0
}

var (
	rowFields = structOf("key_value",
		req(1, "key", blobType, func(m *KeyValue) *[]byte { return &m.Key }),
		req(2, "value", blobType, func(m *KeyValue) *[]byte { return &m.Value }),
		opt(3, "expire_ts_seconds", i32Type, func(m *KeyValue) *int32 { return &m.ExpireTS },
			func(m *KeyValue) bool { return m.ExpireTS != 0 }),
	)
	keyValueType = Type[KeyValue]{name: rowFields.name, kind: kindStruct, least: 1, write: writeRow, read: readRow}
)

// PutRequest sets a row. The optional fields are of releases after 2.5, and only servers among themselves use them.
type PutRequest struct {
	Key, Value         []byte
	ExpireTS           int32
	Type               *int32
	CheckValueReturned *bool
	CheckValueExist    *bool
	CheckValue         *[]byte
}

// UpdateResponse answers put, remove and multi_put.
type UpdateResponse struct {
	Error, AppID, Partition int32
	Decree                  int64
	Server                  string
}

// GetResponse answers get.
type GetResponse struct {
	Error            int32
	Value            []byte
	AppID, Partition int32
	Server           string
}

// TTLResponse answers ttl: seconds left, -1 for a row that never expires.
type TTLResponse struct {
	Error, TTL, AppID, Partition int32
	Server                       string
}

// CountResponse answers sortkey_count.
type CountResponse struct {
	Error            int32
	Count            int64
	AppID, Partition int32
	Server           string
}

// MultiPutRequest sets rows under one hash key.
type MultiPutRequest struct {
	HashKey []byte
	Rows    []KeyValue
	// Strip, when not 0, is how much stands in front of the sort key in each Key: full keys are sent without it, and
	// without the expiry of their own that rows of a scan have.
	Strip    int
	ExpireTS int32
}

// MultiRemoveRequest removes rows under one hash key.
type MultiRemoveRequest struct {
	HashKey  []byte
	SortKeys [][]byte
	MaxCount int64 // unused by servers
}

// MultiRemoveResponse answers multi_remove.
type MultiRemoveResponse struct {
	Error            int32
	Count            int64
	AppID, Partition int32
	Decree           int64
	Server           string
}

// IncrRequest adds to a row that holds a decimal integer. ExpireTS: 0 keeps, above sets, below removes the TTL.
type IncrRequest struct {
	Key       []byte
	Increment int64
	ExpireTS  int32
}

// IncrResponse answers incr.
type IncrResponse struct {
	Error            int32
	NewValue         int64
	AppID, Partition int32
	Decree           int64
	Server           string
}

// FilterType says how a filter's pattern is compared.
type FilterType int32

// The filter types. An empty pattern matches everything.
const (
	FilterNone FilterType = iota
	FilterAnywhere
	FilterPrefix
	FilterPostfix
)

// MultiGetRequest reads the sort keys named, or a range when none is.
type MultiGetRequest struct {
	HashKey           []byte
	SortKeys          [][]byte
	MaxCount, MaxSize int32 // <= 0: no limit but the server's
	NoValue           bool
	StartSortKey      []byte
	StopSortKey       []byte // empty: to the end
	StartInclusive    bool
	StopInclusive     bool
	SortKeyFilter     FilterType
	SortKeyPattern    []byte
	Reverse           bool
}

// MultiGetResponse answers multi_get; Error 7 means that more rows remain.
type MultiGetResponse struct {
	Error            int32
	Rows             []KeyValue
	AppID, Partition int32
	Server           string
}

// GetScannerRequest opens a scan of one partition. Nil optional fields are not sent.
type GetScannerRequest struct {
	StartKey, StopKey             []byte
	StartInclusive, StopInclusive bool
	BatchSize                     int32
	NoValue                       bool
	HashKeyFilter                 FilterType
	HashKeyPattern                []byte
	SortKeyFilter                 FilterType
	SortKeyPattern                []byte
	ValidatePartitionHash         *bool // nil means true
	ReturnExpireTS                *bool
	FullScan                      *bool
	OnlyReturnCount               *bool // since 2.5; older servers ignore it and send rows
}

// ScanRequest continues a scan.
type ScanRequest struct{ ContextID int64 }

// Special values of ScanResponse.ContextID.
const (
	ScanComplete = -1
	ScanNotExist = -2
)

// ScanResponse answers get_scanner and scan. A ContextID >= 0 continues the scan, once.
type ScanResponse struct {
	Error            int32
	Rows             []KeyValue
	Written          *RowBuffer // in place of Rows, when it is to be sent
	ContextID        int64
	AppID, Partition int32
	Server           string
	Count            *int32 // set when only_return_count was asked for and is known to the server
}

var (
	rowsType  = listOf(keyValueType)
	blobsType = listOf(blobType)
	filterT   = enumType[FilterType]("filter_type")

	putType = structOf("update_request",
		req(1, "key", blobType, func(m *PutRequest) *[]byte { return &m.Key }),
		req(2, "value", blobType, func(m *PutRequest) *[]byte { return &m.Value }),
		req(3, "expire_ts_seconds", i32Type, func(m *PutRequest) *int32 { return &m.ExpireTS }),
		ptr(4, "type", i32Type, func(m *PutRequest) **int32 { return &m.Type }),
		ptr(5, "check_value_returned", boolType, func(m *PutRequest) **bool { return &m.CheckValueReturned }),
		ptr(6, "check_value_exist", boolType, func(m *PutRequest) **bool { return &m.CheckValueExist }),
		ptr(7, "check_value", blobType, func(m *PutRequest) **[]byte { return &m.CheckValue }),
	).sized(func(m *PutRequest) int { return small + len(m.Key) + len(m.Value) })
	updateType = structOf("update_response",
		req(1, "error", i32Type, func(m *UpdateResponse) *int32 { return &m.Error }),
		req(2, "app_id", i32Type, func(m *UpdateResponse) *int32 { return &m.AppID }),
		req(3, "partition_index", i32Type, func(m *UpdateResponse) *int32 { return &m.Partition }),
		req(4, "decree", i64Type, func(m *UpdateResponse) *int64 { return &m.Decree }),
		req(5, "server", stringType, func(m *UpdateResponse) *string { return &m.Server }),
	)
	getResultType = structOf("read_response",
		req(1, "error", i32Type, func(m *GetResponse) *int32 { return &m.Error }),
		req(2, "value", blobType, func(m *GetResponse) *[]byte { return &m.Value }),
		req(3, "app_id", i32Type, func(m *GetResponse) *int32 { return &m.AppID }),
		req(4, "partition_index", i32Type, func(m *GetResponse) *int32 { return &m.Partition }),
		req(6, "server", stringType, func(m *GetResponse) *string { return &m.Server }),
	).sized(func(m *GetResponse) int { return small + len(m.Value) })
	ttlType = structOf("ttl_response",
		req(1, "error", i32Type, func(m *TTLResponse) *int32 { return &m.Error }),
		req(2, "ttl_seconds", i32Type, func(m *TTLResponse) *int32 { return &m.TTL }),
		req(3, "app_id", i32Type, func(m *TTLResponse) *int32 { return &m.AppID }),
		req(4, "partition_index", i32Type, func(m *TTLResponse) *int32 { return &m.Partition }),
		req(6, "server", stringType, func(m *TTLResponse) *string { return &m.Server }),
	)
	countType = structOf("count_response",
		req(1, "error", i32Type, func(m *CountResponse) *int32 { return &m.Error }),
		req(2, "count", i64Type, func(m *CountResponse) *int64 { return &m.Count }),
		req(3, "app_id", i32Type, func(m *CountResponse) *int32 { return &m.AppID }),
		req(4, "partition_index", i32Type, func(m *CountResponse) *int32 { return &m.Partition }),
		req(6, "server", stringType, func(m *CountResponse) *string { return &m.Server }),
	)
	multiPutType = structOf("multi_put_request",
		req(1, "hash_key", blobType, func(m *MultiPutRequest) *[]byte { return &m.HashKey }),
		multiPutRows,
		req(3, "expire_ts_seconds", i32Type, func(m *MultiPutRequest) *int32 { return &m.ExpireTS }),
	).sized(func(m *MultiPutRequest) int { return small + len(m.HashKey) + roomForRows(m.Rows) })
	multiRemoveType = structOf("multi_remove_request",
		req(1, "hash_key", blobType, func(m *MultiRemoveRequest) *[]byte { return &m.HashKey }),
		req(2, "sort_keys", blobsType, func(m *MultiRemoveRequest) *[][]byte { return &m.SortKeys }),
		req(3, "max_count", i64Type, func(m *MultiRemoveRequest) *int64 { return &m.MaxCount }),
	)
	multiRemoveResultType = structOf("multi_remove_response",
		req(1, "error", i32Type, func(m *MultiRemoveResponse) *int32 { return &m.Error }),
		req(2, "count", i64Type, func(m *MultiRemoveResponse) *int64 { return &m.Count }),
		req(3, "app_id", i32Type, func(m *MultiRemoveResponse) *int32 { return &m.AppID }),
		req(4, "partition_index", i32Type, func(m *MultiRemoveResponse) *int32 { return &m.Partition }),
		req(5, "decree", i64Type, func(m *MultiRemoveResponse) *int64 { return &m.Decree }),
		req(6, "server", stringType, func(m *MultiRemoveResponse) *string { return &m.Server }),
	)
	incrType = structOf("incr_request",
		req(1, "key", blobType, func(m *IncrRequest) *[]byte { return &m.Key }),
		req(2, "increment", i64Type, func(m *IncrRequest) *int64 { return &m.Increment }),
		req(3, "expire_ts_seconds", i32Type, func(m *IncrRequest) *int32 { return &m.ExpireTS }),
	)
	incrResultType = structOf("incr_response",
		req(1, "error", i32Type, func(m *IncrResponse) *int32 { return &m.Error }),
		req(2, "new_value", i64Type, func(m *IncrResponse) *int64 { return &m.NewValue }),
		req(3, "app_id", i32Type, func(m *IncrResponse) *int32 { return &m.AppID }),
		req(4, "partition_index", i32Type, func(m *IncrResponse) *int32 { return &m.Partition }),
		req(5, "decree", i64Type, func(m *IncrResponse) *int64 { return &m.Decree }),
		req(6, "server", stringType, func(m *IncrResponse) *string { return &m.Server }),
	)
	multiGetType = structOf("multi_get_request",
		req(1, "hash_key", blobType, func(m *MultiGetRequest) *[]byte { return &m.HashKey }),
		req(2, "sort_keys", blobsType, func(m *MultiGetRequest) *[][]byte { return &m.SortKeys }),
		req(3, "max_kv_count", i32Type, func(m *MultiGetRequest) *int32 { return &m.MaxCount }),
		req(4, "max_kv_size", i32Type, func(m *MultiGetRequest) *int32 { return &m.MaxSize }),
		req(5, "no_value", boolType, func(m *MultiGetRequest) *bool { return &m.NoValue }),
		req(6, "start_sortkey", blobType, func(m *MultiGetRequest) *[]byte { return &m.StartSortKey }),
		req(7, "stop_sortkey", blobType, func(m *MultiGetRequest) *[]byte { return &m.StopSortKey }),
		req(8, "start_inclusive", boolType, func(m *MultiGetRequest) *bool { return &m.StartInclusive }),
		req(9, "stop_inclusive", boolType, func(m *MultiGetRequest) *bool { return &m.StopInclusive }),
		req(10, "sort_key_filter_type", filterT, func(m *MultiGetRequest) *FilterType { return &m.SortKeyFilter }),
		req(11, "sort_key_filter_pattern", blobType, func(m *MultiGetRequest) *[]byte { return &m.SortKeyPattern }),
		req(12, "reverse", boolType, func(m *MultiGetRequest) *bool { return &m.Reverse }),
	)
	multiGetResultType = structOf("multi_get_response",
		req(1, "error", i32Type, func(m *MultiGetResponse) *int32 { return &m.Error }),
		req(2, "kvs", rowsType, func(m *MultiGetResponse) *[]KeyValue { return &m.Rows }),
		req(3, "app_id", i32Type, func(m *MultiGetResponse) *int32 { return &m.AppID }),
		req(4, "partition_index", i32Type, func(m *MultiGetResponse) *int32 { return &m.Partition }),
		req(6, "server", stringType, func(m *MultiGetResponse) *string { return &m.Server }),
	).sized(func(m *MultiGetResponse) int { return small + roomForRows(m.Rows) })
	getScannerType = structOf("get_scanner_request",
		req(1, "start_key", blobType, func(m *GetScannerRequest) *[]byte { return &m.StartKey }),
		req(2, "stop_key", blobType, func(m *GetScannerRequest) *[]byte { return &m.StopKey }),
		req(3, "start_inclusive", boolType, func(m *GetScannerRequest) *bool { return &m.StartInclusive }),
		req(4, "stop_inclusive", boolType, func(m *GetScannerRequest) *bool { return &m.StopInclusive }),
		req(5, "batch_size", i32Type, func(m *GetScannerRequest) *int32 { return &m.BatchSize }),
		req(6, "no_value", boolType, func(m *GetScannerRequest) *bool { return &m.NoValue }),
		req(7, "hash_key_filter_type", filterT, func(m *GetScannerRequest) *FilterType { return &m.HashKeyFilter }),
		req(8, "hash_key_filter_pattern", blobType, func(m *GetScannerRequest) *[]byte { return &m.HashKeyPattern }),
		req(9, "sort_key_filter_type", filterT, func(m *GetScannerRequest) *FilterType { return &m.SortKeyFilter }),
		req(10, "sort_key_filter_pattern", blobType, func(m *GetScannerRequest) *[]byte { return &m.SortKeyPattern }),
		ptr(11, "validate_partition_hash", boolType, func(m *GetScannerRequest) **bool { return &m.ValidatePartitionHash }),
		ptr(12, "return_expire_ts", boolType, func(m *GetScannerRequest) **bool { return &m.ReturnExpireTS }),
		ptr(13, "full_scan", boolType, func(m *GetScannerRequest) **bool { return &m.FullScan }),
		ptr(14, "only_return_count", boolType, func(m *GetScannerRequest) **bool { return &m.OnlyReturnCount }),
	)
	scanType = structOf("scan_request",
		req(1, "context_id", i64Type, func(m *ScanRequest) *int64 { return &m.ContextID }),
	)
	scanResultType = structOf("scan_response",
		req(1, "error", i32Type, func(m *ScanResponse) *int32 { return &m.Error }),
		scanRows,
		req(3, "context_id", i64Type, func(m *ScanResponse) *int64 { return &m.ContextID }),
		req(4, "app_id", i32Type, func(m *ScanResponse) *int32 { return &m.AppID }),
		req(5, "partition_index", i32Type, func(m *ScanResponse) *int32 { return &m.Partition }),
		req(6, "server", stringType, func(m *ScanResponse) *string { return &m.Server }),
		ptr(7, "kv_count", i32Type, func(m *ScanResponse) **int32 { return &m.Count }),
	).sized(func(m *ScanResponse) int {
		if m.Written != nil {
			return small + len(m.Written.Bytes)
		}
		return small + roomForRows(m.Rows)
	})
)

// scanRows are the rows of a scan, which a server may have written already.
var scanRows = func() field[ScanResponse] {
	f := req(2, "kvs", rowsType, func(m *ScanResponse) *[]KeyValue { return &m.Rows })
	list := f.write
	f.write = func(b []byte, m *ScanResponse) []byte {
		if m.Written != nil {
			return m.Written.write(b)
		}
		return list(b, m)
	}
	return f
}()

// multiPutRows are the rows of a multi_put, which may be those of a scan.
var multiPutRows = func() field[MultiPutRequest] {
	f := req(2, "kvs", rowsType, func(m *MultiPutRequest) *[]KeyValue { return &m.Rows })
	list := f.write
	f.write = func(b []byte, m *MultiPutRequest) []byte {
		if m.Strip == 0 {
			return list(b, m)
		}
		b = appendI32(append(b, byte(kindStruct)), int32(len(m.Rows)))
		for i := range m.Rows {
			b = appendRow(b, m.Rows[i].Key[m.Strip:], m.Rows[i].Value, 0)
		}
		return b
	}
	return f
}()

// The data calls. Remove, Get and TTL take a full key, SortKeyCount a bare hash key, ClearScanner a context id.
var (
	Put          = RPC[PutRequest, UpdateResponse]{"RPC_RRDB_RRDB_PUT", true, false, putType, updateType}
	Remove       = RPC[[]byte, UpdateResponse]{"RPC_RRDB_RRDB_REMOVE", true, false, blobType, updateType}
	MultiPut     = RPC[MultiPutRequest, UpdateResponse]{"RPC_RRDB_RRDB_MULTI_PUT", true, false, multiPutType, updateType}
	MultiRemove  = RPC[MultiRemoveRequest, MultiRemoveResponse]{"RPC_RRDB_RRDB_MULTI_REMOVE", true, false, multiRemoveType, multiRemoveResultType}
	Incr         = RPC[IncrRequest, IncrResponse]{"RPC_RRDB_RRDB_INCR", true, false, incrType, incrResultType}
	Get          = RPC[[]byte, GetResponse]{"RPC_RRDB_RRDB_GET", false, false, blobType, getResultType}
	TTL          = RPC[[]byte, TTLResponse]{"RPC_RRDB_RRDB_TTL", false, false, blobType, ttlType}
	SortKeyCount = RPC[[]byte, CountResponse]{"RPC_RRDB_RRDB_SORTKEY_COUNT", false, false, blobType, countType}
	MultiGet     = RPC[MultiGetRequest, MultiGetResponse]{"RPC_RRDB_RRDB_MULTI_GET", false, false, multiGetType, multiGetResultType}
	GetScanner   = RPC[GetScannerRequest, ScanResponse]{"RPC_RRDB_RRDB_GET_SCANNER", false, false, getScannerType, scanResultType}
	Scan         = RPC[ScanRequest, ScanResponse]{"RPC_RRDB_RRDB_SCAN", false, false, scanType, scanResultType}
	ClearScanner = RPC[int64, struct{}]{"RPC_RRDB_RRDB_CLEAR_SCANNER", false, true, i64Type, emptyType}
)

func dataCalls() []call {
	return []call{
		&Put, &Remove, &MultiPut, &MultiRemove, &Incr, &Get, &TTL, &SortKeyCount, &MultiGet, &GetScanner, &Scan,
		&ClearScanner, &CheckAndSet, &CheckAndMutate,
	}
}
