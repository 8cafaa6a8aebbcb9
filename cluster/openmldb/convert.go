package openmldb

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/pb/types"
	"shardsh/cluster/openmldb/wire"
	"shardsh/commands/spec"
)

// tableOf reads what the nameserver keeps of a table. Columns and indexes of kinds that are not known here stay as they
// are; only rows of such a table cannot be read.
func tableOf(t *ns.TableInfo) (Table, error) {
	out := Table{
		TableName: TableName{DB: t.GetDb(), Name: t.GetName()}, ID: t.GetTid(), Replicas: int(t.GetReplicaNum()),
		Compress: t.GetCompressType().String(), Storage: t.GetStorageMode().String(), Segments: t.GetSegCnt(),
		PartitionKey: t.GetPartitionKey(),
	}
	out.describe(t.GetColumnDesc(), t.GetAddedColumnDesc(), t.GetSchemaVersions(), t.GetColumnKey())
	for _, p := range t.GetTablePartition() {
		out.Parts = append(out.Parts, partitionOf(p))
	}
	slices.SortStableFunc(out.Parts, func(a, b Partition) int { return cmp.Compare(a.ID, b.ID) })
	for i, p := range out.Parts {
		if p.ID != uint32(i) {
			return Table{}, fmt.Errorf("the partitions of %s are not those from 0 on: there is a %d in place %d", out.TableName, p.ID, i)
		}
		if t.ReplicaNum == nil {
			out.Replicas = max(out.Replicas, len(p.Replicas))
		}
	}
	if out.Partitions = len(out.Parts); out.Partitions == 0 {
		out.Partitions = int(t.GetPartitionNum())
	}
	return out, nil
}

// describe fills in columns and indexes.
func (t *Table) describe(
	columns, added []*common.ColumnDesc, versions []*common.VersionPair, keys []*common.ColumnKey,
) {
	for _, c := range slices.Concat(columns, added) {
		t.Columns = append(t.Columns, Column{
			Name: c.GetName(), Type: wire.TypeName(c.GetDataType()), Default: c.GetDefaultValue(), NotNull: c.GetNotNull(),
		})
		t.Schema.Columns = append(t.Schema.Columns, wire.Column{Name: c.GetName(), Type: c.GetDataType(), NotNull: c.GetNotNull()})
	}
	t.Schema.Versions = map[uint8]int{1: len(columns)}
	for _, v := range versions {
		id, count := v.GetId(), int(v.GetFieldCount())
		if id < 1 || id > 255 || count < len(columns) || count > len(t.Columns) {
			continue // as the store's own clients do
		}
		t.Schema.Versions[uint8(id)] = count
		if count == len(t.Columns) {
			t.Schema.Version = max(t.Schema.Version, uint8(id))
		}
	}
	t.Indexes = indexesOf(keys)
}

// indexesOf reads indexes. A deleted one is left out and keeps its place.
func indexesOf(keys []*common.ColumnKey) []Index {
	var all []Index
	for i, k := range keys {
		if k.GetFlag() != 0 {
			continue
		}
		x := Index{
			Name: k.GetIndexName(), Columns: k.GetColName(), TimeColumn: k.GetTsName(), TTL: ttlOf(k.GetTtl()), Place: uint32(i),
		}
		if len(x.Columns) == 0 {
			x.Columns = []string{x.Name}
		}
		if k.GetType() != types.IndexType_kCovering {
			x.Type = k.GetType().String()
		}
		all = append(all, x)
	}
	return all
}

func ttlOf(t *common.TTLSt) TTL {
	return TTL{Type: t.GetTtlType().String(), Minutes: t.GetAbsTtl(), Versions: t.GetLatTtl()}
}

func partitionOf(p *ns.TablePartition) Partition {
	out := Partition{ID: p.GetPid()}
	for _, m := range p.GetPartitionMeta() {
		out.Replicas = append(out.Replicas, Replica{
			Endpoint: m.GetEndpoint(), Leader: m.GetIsLeader(), Alive: m.GetIsAlive(), Offset: m.Offset, Records: m.RecordCnt,
			Memory: m.RecordByteSize, Disk: m.Diskused, Present: m.GetTabletHasPartition(),
		})
	}
	for _, t := range p.GetTermOffset() {
		out.Terms = append(out.Terms, TermOffset{Term: t.GetTerm(), Offset: t.GetOffset()})
	}
	return out
}

// toWire is the inverse of partitionOf.
func (p *Partition) toWire() *ns.TablePartition {
	out := &ns.TablePartition{Pid: proto.Uint32(p.ID)}
	for _, r := range p.Replicas {
		m := &ns.PartitionMeta{
			Endpoint: proto.String(r.Endpoint), IsLeader: proto.Bool(r.Leader), IsAlive: proto.Bool(r.Alive), Offset: r.Offset,
			RecordCnt: r.Records, RecordByteSize: r.Memory, Diskused: r.Disk,
		}
		if !r.Present {
			m.TabletHasPartition = proto.Bool(false)
		}
		out.PartitionMeta = append(out.PartitionMeta, m)
	}
	for _, t := range p.Terms {
		out.TermOffset = append(out.TermOffset, &ns.TermPair{Term: proto.Uint64(t.Term), Offset: proto.Uint64(t.Offset)})
	}
	return out
}

// toWire makes the request for a table. The error is a usage error.
func (t *NewTable) toWire() (*ns.TableInfo, error) {
	out := &ns.TableInfo{Name: proto.String(t.Name), Db: proto.String(t.DB), PartitionKey: t.PartitionKey}
	if t.Partitions != 0 {
		out.PartitionNum = proto.Uint32(uint32(t.Partitions))
	}
	if t.Replicas != 0 {
		out.ReplicaNum = proto.Uint32(uint32(t.Replicas))
	}
	if t.Segments != 0 {
		out.SegCnt = proto.Uint32(t.Segments)
	}
	if t.Storage != "" {
		mode, err := storageMode(t.Storage)
		if err != nil {
			return nil, err
		}
		out.StorageMode = mode.Enum()
	}
	if t.Compress != "" {
		n, known := types.CompressType_value[withK(t.Compress)]
		if !known {
			return nil, spec.Errorf(spec.Usage, "%q is no kind of compression", t.Compress).WithHint("kNoCompress or kSnappy")
		}
		out.CompressType = types.CompressType(n).Enum()
	}
	for _, c := range t.Columns {
		desc, err := c.toWire()
		if err != nil {
			return nil, err
		}
		out.ColumnDesc = append(out.ColumnDesc, desc)
	}
	for _, x := range t.Indexes {
		key, err := x.toWire()
		if err != nil {
			return nil, err
		}
		out.ColumnKey = append(out.ColumnKey, key)
	}
	for _, p := range t.Parts {
		out.TablePartition = append(out.TablePartition, p.toWire())
	}
	return out, nil
}

func (c *Column) toWire() (*common.ColumnDesc, error) {
	kind, known := wire.ParseType(c.Type)
	if !known {
		return nil, spec.Errorf(spec.Usage, "column %s: %q is no type", c.Name, c.Type).
			WithHint("the types are bool smallint int bigint float double date timestamp varchar string")
	}
	out := &common.ColumnDesc{Name: proto.String(c.Name), DataType: kind.Enum(), NotNull: proto.Bool(c.NotNull)}
	if c.Default != "" {
		out.DefaultValue = proto.String(c.Default)
	}
	return out, nil
}

func (x *Index) toWire() (*common.ColumnKey, error) {
	ttl, err := x.TTL.toWire()
	if err != nil {
		return nil, err
	}
	out := &common.ColumnKey{IndexName: proto.String(x.Name), ColName: x.Columns, Ttl: ttl}
	if x.Type != "" {
		n, known := types.IndexType_value[withK(x.Type)]
		if !known {
			return nil, spec.Errorf(spec.Usage, "index %s: %q is no type of index", x.Name, x.Type).WithHint("kCovering, kClustered or kSecondary")
		}
		out.Type = types.IndexType(n).Enum()
	}
	if x.TimeColumn != "" {
		out.TsName = proto.String(x.TimeColumn)
	}
	return out, nil
}

func (t TTL) toWire() (*common.TTLSt, error) {
	kind := types.TTLType_kAbsoluteTime
	if t.Type != "" {
		n, known := types.TTLType_value[t.Type]
		if !known {
			return nil, spec.Errorf(spec.Usage, "%q is no kind of TTL", t.Type).
				WithHint("kAbsoluteTime, kLatestTime, kAbsAndLat or kAbsOrLat")
		}
		kind = types.TTLType(n)
	}
	return &common.TTLSt{TtlType: kind.Enum(), AbsTtl: proto.Uint64(t.Minutes), LatTtl: proto.Uint64(t.Versions)}, nil
}

// withK accepts the store's names of things without the k before them.
func withK(name string) string {
	if strings.HasPrefix(name, "k") {
		return name
	}
	return "k" + name
}

// storageMode reads "kMemory"; "" is that, too.
func storageMode(text string) (common.StorageMode, error) {
	if text == "" {
		return common.StorageMode_kMemory, nil
	}
	n, known := common.StorageMode_value[withK(text)]
	if !known || n == int32(common.StorageMode_kUnknown) {
		return 0, spec.Errorf(spec.Usage, "%q is no kind of storage", text).WithHint("kMemory, kSSD or kHDD")
	}
	return common.StorageMode(n), nil
}

// ttlKinds are the kinds of TTL as people write them, and which numbers follow: minutes, versions.
var ttlKinds = []struct {
	word, kind        string
	minutes, versions bool
}{
	{"absolute", "kAbsoluteTime", true, false},
	{"latest", "kLatestTime", false, true},
	{"absandlat", "kAbsAndLat", true, true},
	{"absorlat", "kAbsOrLat", true, true},
}

// ParseTTL reads a TTL as the nameserver client takes it: `144000` (minutes), `absolute:144000`, `latest:10` (versions),
// `absandlat:144000:10`, `absorlat:144000:10`. 0 keeps rows for ever. The error is a usage error.
func ParseTTL(text string) (TTL, error) {
	parts := strings.Split(text, ":")
	if len(parts) == 1 {
		parts = []string{"absolute", text}
	}
	for _, k := range ttlKinds {
		if k.word != parts[0] {
			continue
		}
		t, at := TTL{Type: k.kind}, 1
		for _, number := range []struct {
			wanted bool
			into   *uint64
		}{{k.minutes, &t.Minutes}, {k.versions, &t.Versions}} {
			if !number.wanted {
				continue
			}
			if at >= len(parts) {
				return TTL{}, badTTL(text)
			}
			n, err := strconv.ParseUint(parts[at], 10, 64)
			if err != nil {
				return TTL{}, badTTL(text)
			}
			*number.into = n
			at++
		}
		if at != len(parts) {
			return TTL{}, badTTL(text)
		}
		return t, nil
	}
	return TTL{}, badTTL(text)
}

func badTTL(text string) error {
	return spec.Errorf(spec.Usage, "%q is no TTL", text).
		WithHint("write minutes, latest:VERSIONS, absandlat:MINUTES:VERSIONS or absorlat:MINUTES:VERSIONS")
}

// String is how the store's own clients show a TTL: `144000min`, `10` versions, `144000min&&10`, `144000min||10`.
func (t TTL) String() string {
	switch t.Type {
	case "kLatestTime":
		return fmt.Sprint(t.Versions)
	case "kAbsAndLat":
		return fmt.Sprintf("%dmin&&%d", t.Minutes, t.Versions)
	case "kAbsOrLat":
		return fmt.Sprintf("%dmin||%d", t.Minutes, t.Versions)
	}
	return fmt.Sprintf("%dmin", t.Minutes)
}
