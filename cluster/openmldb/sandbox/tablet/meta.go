package tablet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/types"
	"shardsh/cluster/openmldb/wire"
)

const clustered = types.IndexType_kClustered

// Bounds of a TTL (absolute_ttl_max: 30 years in minutes, latest_ttl_max).
const (
	maxMinutes  = 60 * 24 * 365 * 30
	maxVersions = 1000
)

// checkMeta says what is wrong with a table's description, as the store does (code 129); "" for nothing.
func checkMeta(m *api.TableMeta) string {
	switch {
	case m.GetName() == "":
		return "table name is empty"
	case m.GetTid() <= 0:
		return "tid <= 0, invalid tid"
	case m.GetStorageMode() == common.StorageMode_kUnknown:
		return "storage_mode is unknown"
	}
	columns := map[string]types.DataType{}
	for _, c := range m.GetColumnDesc() {
		if _, twice := columns[c.GetName()]; twice {
			return "duplicated column: " + c.GetName()
		}
		columns[c.GetName()] = c.GetDataType()
	}
	names := map[string]bool{}
	for _, k := range m.GetColumnKey() {
		if text := checkIndex(k, columns); text != "" {
			return text
		}
		if names[k.GetIndexName()] {
			return "duplicate index " + k.GetIndexName()
		}
		names[k.GetIndexName()] = true
	}
	return ""
}

func checkIndex(k *common.ColumnKey, columns map[string]types.DataType) string {
	float := func(name string) bool {
		return columns[name] == types.DataType_kFloat || columns[name] == types.DataType_kDouble
	}
	for i, name := range k.GetColName() {
		_, known := columns[name]
		switch {
		case slices.Contains(k.GetColName()[:i], name):
			return "duplicated col " + name
		case !known:
			return "can not find col in schema. col: " + name
		case float(name):
			return "float or double type column can not be index, column is: " + name
		}
	}
	if len(k.GetColName()) == 0 {
		if _, known := columns[k.GetIndexName()]; !known {
			return "index must member of columns when column key col name is empty"
		}
		if float(k.GetIndexName()) {
			return "float or double column can not be index"
		}
	}
	if k.TsName != nil {
		switch t, known := columns[k.GetTsName()]; {
		case !known:
			return "can not find col in schema. col: " + k.GetTsName()
		case t != types.DataType_kBigInt && t != types.DataType_kTimestamp:
			return "ts column type should be bigint or timestamp, column is: " + k.GetTsName()
		}
	}
	if k.GetTtl().GetAbsTtl() > maxMinutes {
		return fmt.Sprintf("absolute ttl cannot be greater than %d", maxMinutes)
	}
	if k.GetTtl().GetLatTtl() > maxVersions {
		return fmt.Sprintf("latest ttl cannot be greater than %d", maxVersions)
	}
	return ""
}

// writeMeta keeps a description in a partition's directory, which is made.
func writeMeta(dir string, m *api.TableMeta) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return writeText(filepath.Join(dir, metaFile), m)
}

// mergeMeta puts what a LoadTable says over what the directory has; the replicas are the request's alone. What has no
// description on the disk is described by the request.
func mergeMeta(dir string, asked *api.TableMeta) (*api.TableMeta, error) {
	m := &api.TableMeta{}
	if err := readText(filepath.Join(dir, metaFile), m); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	m.Replicas = nil
	if len(asked.GetColumnDesc()) > 0 { // lists would be joined
		m.ColumnDesc, m.ColumnKey, m.AddedColumnDesc, m.SchemaVersions = nil, nil, nil, nil
	}
	if len(asked.GetTablePartition()) > 0 {
		m.TablePartition = nil
	}
	proto.Merge(m, asked)
	return m, nil
}

// schemas are a table's columns by schema version, and where each has its integers.
type schemas map[uint8]*schema

type schema struct {
	wire.Schema
	at map[string]fixedColumn
}

// fixedColumn is where rows of a schema version have an integer.
type fixedColumn struct {
	bit, offset int // in the null bitmap, and from the row's first byte
	size        int // 0 for columns that are no integers
}

const rowHead = 6 // of a row: format version, schema version, size (wire/row.go)

func schemasOf(m *api.TableMeta) schemas {
	all := schemas{1: newSchema(m.GetColumnDesc(), 1)}
	for _, v := range m.GetSchemaVersions() {
		added := int(v.GetFieldCount()) - len(m.GetColumnDesc())
		if added < 0 || added > len(m.GetAddedColumnDesc()) || v.GetId() < 1 || v.GetId() > 255 {
			continue
		}
		columns := slices.Concat(m.GetColumnDesc(), m.GetAddedColumnDesc()[:added])
		all[uint8(v.GetId())] = newSchema(columns, uint8(v.GetId()))
	}
	return all
}

func newSchema(columns []*common.ColumnDesc, version uint8) *schema {
	s := &schema{Schema: wire.Schema{Version: version}, at: map[string]fixedColumn{}}
	offset := rowHead + (len(columns)+7)/8
	for i, c := range columns {
		s.Columns = append(s.Columns, wire.Column{Name: c.GetName(), Type: c.GetDataType(), NotNull: c.GetNotNull()})
		size, integer := fixedSize(c.GetDataType())
		if integer {
			s.at[c.GetName()] = fixedColumn{bit: i, offset: offset, size: size}
		}
		offset += size
	}
	return s
}

// fixedSize is how many bytes a value takes among the fixed columns, and whether a time can be made of it.
func fixedSize(t types.DataType) (size int, integer bool) {
	switch t {
	case types.DataType_kBool:
		return 1, false
	case types.DataType_kSmallInt:
		return 2, false
	case types.DataType_kInt, types.DataType_kFloat, types.DataType_kDate:
		return 4, false
	case types.DataType_kDouble:
		return 8, false
	case types.DataType_kBigInt, types.DataType_kTimestamp:
		return 8, true
	}
	return 0, false
}
