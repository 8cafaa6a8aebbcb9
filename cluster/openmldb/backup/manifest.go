package backup

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"shardsh/cluster/openmldb"
)

// The names of the documents.
const (
	ManifestFile = "manifest.json"
	BegunFile    = "begun.json"
	SumsFile     = "SHA256SUMS"
)

// format is the version of the layout; a reader refuses others.
const format = 1

// Bounds of what is read from a service.
const (
	largestManifest = 256 << 20
	largestBegun    = 1 << 20
	largestFile     = 1 << 30
	mostPartitions  = 1 << 16
)

// Begun tells of a backup that is being made, or was left so.
type Begun struct {
	Format  int       `json:"format"`
	Cluster string    `json:"cluster"`
	DB      string    `json:"db"`
	Table   string    `json:"table"`
	Started time.Time `json:"started"`
}

// Manifest is what a backup holds.
type Manifest struct {
	Format   int       `json:"format"`
	Cluster  string    `json:"cluster"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	Table    Table     `json:"table"`
	// ReadBy is the index that gave the files in rows.
	ReadBy  string  `json:"read_by"`
	Indexes []Index `json:"indexes"` // as the table has them, with what was read
	Chunks  []Chunk `json:"chunks"`  // by index (ReadBy first, then as in Indexes), partition, number

	sha256 string
	sizes  [2]int64 // of the document as it was read, and of SHA256SUMS
}

// SHA256 is that of the manifest as it was read, which is made of those of all files.
func (m *Manifest) SHA256() string { return m.sha256 }

// Table is the definition of a table: all that is needed to create it.
type Table struct {
	DB           string   `json:"db"`
	Name         string   `json:"name"`
	ID           uint32   `json:"id"`
	Columns      []Column `json:"columns"`
	PartitionKey []string `json:"partition_key,omitempty"`
	Partitions   int      `json:"partitions"`
	Replicas     int      `json:"replicas"`
	Storage      string   `json:"storage"`  // kMemory, kSSD, kHDD
	Compress     string   `json:"compress"` // kNoCompress, kSnappy
	Segments     uint32   `json:"segments"`
}

// Column is a column; those that were added later stand last, as in the table.
type Column struct {
	Name    string `json:"name"`
	Type    string `json:"type"` // bigint, string …
	NotNull bool   `json:"not_null,omitempty"`
	Default string `json:"default,omitempty"`
}

// Index is an index, and what was in it.
type Index struct {
	Name       string   `json:"name"`
	Columns    []string `json:"columns"`
	TimeColumn string   `json:"time_column,omitempty"` // "": ordered by the time of the put
	TTL        TTL      `json:"ttl"`
	Rows       int64    `json:"rows"`
	Sum        Sum      `json:"sum"`
	// Own are the partitions that are stored by themselves; those of ReadBy always are, and are not listed.
	Own []int `json:"own,omitempty"`
}

// TTL says when rows expire; see openmldb.TTL.
type TTL struct {
	Type     string `json:"type"`
	Minutes  uint64 `json:"minutes"`
	Versions uint64 `json:"versions"`
}

// Chunk is a file of rows and the one of their times.
type Chunk struct {
	Index     string `json:"index"`
	Partition int    `json:"partition"`
	Number    int    `json:"number"`
	Rows      int64  `json:"rows"`
	RowBytes  int64  `json:"row_bytes"` // as tablets encode them
	// Files are that of the rows and that of their times.
	Files [2]File `json:"files"`
}

// File is a file as it was written.
type File struct {
	Path   string `json:"path"` // relative to the folder
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Rows are the rows that were read by ReadBy.
func (m *Manifest) Rows() int64 {
	if i := m.index(m.ReadBy); i >= 0 {
		return m.Indexes[i].Rows
	}
	return 0
}

// Stored are the entries that are in files, of all indexes.
func (m *Manifest) Stored() (rows, rowBytes int64) {
	for _, c := range m.Chunks {
		rows += c.Rows
		rowBytes += c.RowBytes
	}
	return rows, rowBytes
}

// Size is that of all files of rows and times.
func (m *Manifest) Size() (size int64, files int) {
	for _, c := range m.Chunks {
		size += c.Files[0].Size + c.Files[1].Size
		files += len(c.Files)
	}
	return size, files
}

func (m *Manifest) index(name string) int {
	return slices.IndexFunc(m.Indexes, func(x Index) bool { return x.Name == name })
}

// TableName is the table's.
func (m *Manifest) TableName() openmldb.TableName {
	return openmldb.TableName{DB: m.Table.DB, Name: m.Table.Name}
}

// describe makes the definition of a table.
func describe(t *openmldb.Table) (Table, []Index) {
	out := Table{
		DB: t.DB, Name: t.Name, ID: t.ID, PartitionKey: t.PartitionKey, Partitions: len(t.Parts), Replicas: t.Replicas, Storage: t.Storage,
		Compress: t.Compress, Segments: t.Segments,
	}
	for _, c := range t.Columns {
		out.Columns = append(out.Columns, columnOf(c))
	}
	var indexes []Index
	for _, x := range t.Indexes {
		indexes = append(indexes, Index{Name: x.Name, Columns: x.Columns, TimeColumn: x.TimeColumn, TTL: TTL(x.TTL)})
	}
	return out, indexes
}

func columnOf(c openmldb.Column) Column {
	return Column{Name: c.Name, Type: c.Type, NotNull: c.NotNull, Default: c.Default}
}

// New is the table to be created for a restore.
func (m *Manifest) New() openmldb.NewTable {
	t := m.Table
	out := openmldb.NewTable{
		TableName: m.TableName(), Partitions: t.Partitions, Replicas: t.Replicas, Storage: t.Storage, Compress: t.Compress, Segments: t.Segments,
		PartitionKey: t.PartitionKey,
	}
	for _, c := range t.Columns {
		out.Columns = append(out.Columns, openmldb.Column{Name: c.Name, Type: c.Type, NotNull: c.NotNull, Default: c.Default})
	}
	for _, x := range m.Indexes {
		out.Indexes = append(out.Indexes, x.driver())
	}
	return out
}

func (x Index) driver() openmldb.Index {
	return openmldb.Index{Name: x.Name, Columns: x.Columns, TimeColumn: x.TimeColumn, TTL: openmldb.TTL(x.TTL)}
}

// Saved is the table as it was, as far as rows depend on it.
func (m *Manifest) Saved() (*openmldb.Table, error) {
	n := m.New()
	t := &openmldb.Table{
		TableName: n.TableName, ID: m.Table.ID, Partitions: n.Partitions, Replicas: n.Replicas, Compress: n.Compress, Storage: n.Storage, Segments: n.Segments,
		Columns: n.Columns, Indexes: n.Indexes, PartitionKey: n.PartitionKey, Parts: make([]openmldb.Partition, n.Partitions),
	}
	for i := range t.Parts {
		t.Parts[i].ID = uint32(i)
	}
	for i := range t.Indexes {
		t.Indexes[i].Place = uint32(i)
	}
	schema, err := schemaOf(m.Table.Columns)
	t.Schema = schema
	return t, err
}

// FolderName is the folder of a table's backup: db.table, where what is neither a letter, a digit, a dash nor an underscore
// stands as %XX.
func FolderName(t openmldb.TableName) string {
	if t.DB == "" {
		return escape(t.Name)
	}
	return escape(t.DB) + "." + escape(t.Name)
}

func escape(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if c == '_' || c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// The two kinds of files of a Chunk.
const (
	rowsKind = iota
	timesKind
)

// chunkPath is where a file of a chunk is, in the folder; own says that its index is not the one read first.
func chunkPath(index string, own bool, kind, partition, number int) string {
	name := fmt.Sprintf("%s/%05d-%05d.parquet", [...]string{"rows", "times"}[kind], partition, number)
	if own {
		return "index-" + escape(index) + "/" + name
	}
	return name
}

// encode writes a document: the same bytes for the same content.
func encode(document any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(document)
	return b.Bytes(), err
}

// sort puts the chunks in their order.
func (m *Manifest) sort() {
	rank := func(name string) int {
		if name == m.ReadBy {
			return -1
		}
		return m.index(name)
	}
	slices.SortFunc(m.Chunks, func(a, b Chunk) int {
		return cmp.Or(cmp.Compare(rank(a.Index), rank(b.Index)), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Number, b.Number))
	})
}

// sums makes SHA256SUMS of the manifest and what it lists.
func (m *Manifest) sums(manifest []byte) []byte {
	var lines []string
	for _, c := range m.Chunks {
		for _, f := range c.Files {
			lines = append(lines, f.SHA256+"  "+f.Path+"\n")
		}
	}
	slices.Sort(lines)
	return []byte(strings.Join(append(lines, sha(manifest)+"  "+ManifestFile+"\n"), ""))
}
