package openmldb

import (
	"fmt"

	"google.golang.org/protobuf/encoding/prototext"

	"shardsh/cluster/openmldb/pb/ns"
)

// MaxText bounds a description that is read from a file.
const MaxText = 1 << 20

// FormatPartition writes a partition as OpenMLDB's own client does: protobuf's text format of a TablePartition.
func FormatPartition(p Partition) (string, error) {
	out := &ns.TablePartition{Pid: &p.ID}
	for _, r := range p.Replicas {
		out.PartitionMeta = append(out.PartitionMeta, &ns.PartitionMeta{
			Endpoint: &r.Endpoint, IsLeader: &r.Leader, IsAlive: &r.Alive, Offset: r.Offset, RecordCnt: r.Records,
			RecordByteSize: r.Memory, Diskused: r.Disk, TabletHasPartition: &r.Present,
		})
	}
	for _, t := range p.Terms {
		out.TermOffset = append(out.TermOffset, &ns.TermPair{Term: &t.Term, Offset: &t.Offset})
	}
	text, err := prototext.MarshalOptions{Multiline: true}.Marshal(out)
	return string(text), err
}

// ParsePartition is its inverse. It refuses what would leave clients without a leader, or with two.
func ParsePartition(text string) (Partition, error) {
	if len(text) > MaxText {
		return Partition{}, fmt.Errorf("a description of %d bytes is longer than %d", len(text), MaxText)
	}
	var in ns.TablePartition
	if err := prototext.Unmarshal([]byte(text), &in); err != nil {
		return Partition{}, err
	}
	p := Partition{ID: in.GetPid()}
	seen, leaders := map[string]bool{}, 0
	for _, m := range in.PartitionMeta {
		if seen[m.GetEndpoint()] {
			return Partition{}, fmt.Errorf("%s is there twice", m.GetEndpoint())
		}
		seen[m.GetEndpoint()] = true
		if m.GetIsLeader() && m.GetIsAlive() {
			leaders++
		}
		p.Replicas = append(p.Replicas, Replica{
			Endpoint: m.GetEndpoint(), Leader: m.GetIsLeader(), Alive: m.GetIsAlive(), Offset: m.Offset, Records: m.RecordCnt,
			Memory: m.RecordByteSize, Disk: m.Diskused, Present: m.GetTabletHasPartition(),
		})
	}
	if leaders != 1 {
		return Partition{}, fmt.Errorf("%d replicas lead and are alive; it takes one", leaders)
	}
	for _, t := range in.TermOffset {
		p.Terms = append(p.Terms, TermOffset{Term: t.GetTerm(), Offset: t.GetOffset()})
	}
	return p, nil
}
