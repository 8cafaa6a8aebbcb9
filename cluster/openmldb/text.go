package openmldb

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/commands/spec"
)

// FormatPartition writes a partition as OpenMLDB's own client does: protobuf's text format of a TablePartition. It is not
// the library's writer, whose blanks differ from one build of a program to the next.
func FormatPartition(p Partition) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "pid: %d\n", p.ID)
	for _, r := range p.Replicas {
		if why := notServer(r.Endpoint); why != "" {
			return "", spec.Errorf(spec.Failed, "partition %d: %q: %s", p.ID, r.Endpoint, why)
		}
		b.WriteString("partition_meta {\n")
		fmt.Fprintf(&b, "  endpoint: %q\n  is_leader: %t\n  is_alive: %t\n", r.Endpoint, r.Leader, r.Alive)
		for _, n := range []struct {
			name  string
			value *uint64
		}{{"offset", r.Offset}, {"record_cnt", r.Records}, {"record_byte_size", r.Memory}, {"diskused", r.Disk}} {
			if n.value != nil {
				fmt.Fprintf(&b, "  %s: %d\n", n.name, *n.value)
			}
		}
		if !r.Present {
			b.WriteString("  tablet_has_partition: false\n")
		}
		b.WriteString("}\n")
	}
	for _, t := range p.Terms {
		fmt.Fprintf(&b, "term_offset {\n  term: %d\n  offset: %d\n}\n", t.Term, t.Offset)
	}
	return b.String(), nil
}

// MaxText bounds a description that is read from a file.
const MaxText = 1 << 20

// ParsePartition is its inverse; files of the nameserver client may be given, too. It refuses what would leave clients
// without a leader, or with two. The error is a usage error.
func ParsePartition(text string) (Partition, error) {
	m := &ns.TablePartition{}
	if err := parseText(text, m); err != nil {
		return Partition{}, err
	}
	p := partitionOf(m)
	return p, checkPartition("partition "+fmt.Sprint(p.ID), p)
}

// ParseTableFile reads the file that the nameserver client's create takes: a nameserver.TableInfo in protobuf's text
// format.
func ParseTableFile(text string) (NewTable, error) {
	m := &ns.TableInfo{}
	if err := parseText(text, m); err != nil {
		return NewTable{}, err
	}
	if m.OfflineTableInfo != nil || len(m.AddedColumnDesc) > 0 || len(m.SchemaVersions) > 0 {
		return NewTable{}, spec.Errorf(spec.Usage, "a new table has neither added columns nor offline data")
	}
	t, err := tableOf(m)
	if err != nil {
		return NewTable{}, spec.Errorf(spec.Usage, "%w", err)
	}
	n := NewTable{
		TableName: t.TableName, Columns: t.Columns, Indexes: t.Indexes, Partitions: int(m.GetPartitionNum()),
		Replicas: int(m.GetReplicaNum()), PartitionKey: t.PartitionKey, Parts: t.Parts,
	}
	if m.StorageMode != nil {
		n.Storage = t.Storage
	}
	if m.CompressType != nil {
		n.Compress = t.Compress
	}
	if m.SegCnt != nil {
		n.Segments = t.Segments
	}
	return n, nil
}

func parseText(text string, m proto.Message) error {
	if len(text) > MaxText {
		return spec.Errorf(spec.Usage, "a description of %d bytes is longer than %d", len(text), MaxText)
	}
	if err := prototext.Unmarshal([]byte(text), m); err != nil {
		// The library varies its words on purpose.
		why := strings.ReplaceAll(err.Error(), "\u00a0", " ")
		return spec.Errorf(spec.Usage, "%s", strings.TrimPrefix(why, "proto: ")).WithHint("it is a message in protobuf's text format")
	}
	return nil
}
