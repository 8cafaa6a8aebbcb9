package coldbackup

import (
	"encoding/json"
	"errors"
	"path"
	"strconv"
)

// The input of a bulk load, below the root that start_bulk_load is told:
//
//	<root>/<cluster>/<table>/bulk_load_info
//	<root>/<cluster>/<table>/<partition>/bulk_load_metadata, and the tables it lists
const (
	LoadInfoFile     = "bulk_load_info"
	LoadMetadataFile = "bulk_load_metadata"
)

// LoadInfo is bulk_load_info. It must be what the target table is.
type LoadInfo struct {
	AppID          int32  `json:"app_id"`
	AppName        string `json:"app_name"`
	PartitionCount int32  `json:"partition_count"`
}

// LoadMetadata is bulk_load_metadata: the tables of a partition. Servers refuse a total of 0: an empty partition needs a
// table, too.
type LoadMetadata struct {
	Files     []File `json:"files"`
	TotalSize int64  `json:"file_total_size"` // bytes
}

// LoadDir is the folder of a table's input.
func LoadDir(root, cluster, table string) string { return path.Join(root, cluster, table) }

// LoadPartitionDir is the folder of a partition's input.
func LoadPartitionDir(dir string, partition int) string {
	return path.Join(dir, strconv.Itoa(partition))
}

// EncodeLoadMetadata makes the file of a list of tables.
func EncodeLoadMetadata(files []File) ([]byte, error) {
	m := LoadMetadata{Files: files}
	for _, f := range files {
		m.TotalSize += f.Size
	}
	if m.TotalSize <= 0 {
		return nil, errors.New("a partition without tables cannot be bulk-loaded")
	}
	return json.Marshal(m)
}

// ParseLoadMetadata reads bulk_load_metadata, and checks it against itself.
func ParseLoadMetadata(b []byte) (*LoadMetadata, error) {
	m, err := parse[LoadMetadata](b)
	if err == nil {
		err = checkFiles(m.Files, m.TotalSize)
	}
	if err == nil && m.TotalSize == 0 {
		err = errors.New("it lists no byte, which servers refuse")
	}
	return m, err
}
