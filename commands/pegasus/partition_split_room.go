package pegasus

import (
	"context"
	"fmt"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

const (
	// splitRoom is how much room a split takes, in sizes of the table: the children, and what compacting both halves needs.
	splitRoom = 3
	// fullest is how full a disk may be for servers to write to it, in per cent.
	fullest = 100 - driver.LeastAvailable
)

// room finds the disks that have none for the split. What servers do not tell is a note.
func (s *doubling) room(ctx context.Context, a driver.App) (blockers []spec.Blocker, notes []string, err error) {
	nodes, err := diskNodes(ctx, s.client, "")
	if err != nil {
		return nil, nil, err
	}
	var unknown []error
	for _, answer := range askDisks(ctx, s.client, nodes, a.Name) {
		if answer.err != nil {
			unknown = append(unknown, answer.err)
			continue
		}
		if len(answer.disks) == 0 {
			continue
		}
		sample, err := s.client.Sample(ctx, answer.node, driver.Wanted{Replica: []string{diskCounter}, App: a.ID})
		if err != nil {
			unknown = append(unknown, err)
			continue
		}
		for _, d := range answer.disks {
			if why := s.noRoom(d, a, sample); why != "" {
				blockers = append(blockers, spec.Blocker{Object: d.Tag + " of " + answer.node, Why: why})
			}
		}
	}
	if len(unknown) > 0 {
		text := fmt.Sprintf("whether all disks have room for the split is not known: %v", unknown[0])
		if more := len(unknown) - 1; more > 0 {
			text += fmt.Sprintf(", and %s more", commands.Plural(more, "node"))
		}
		notes = []string{text}
	}
	return blockers, notes, ctx.Err()
}

// noRoom says why a disk has no room for the split of a table, "" when it has.
func (s *doubling) noRoom(d driver.Disk, a driver.App, sample *driver.Sample) string {
	var table int64
	for _, r := range d.Replicas {
		if r.AppID == a.ID {
			table += int64(sample.Replicas[driver.ReplicaID{App: a.ID, Partition: r.Partition}][diskCounter] * mebi)
		}
	}
	return overfull(d, "the split may take", splitRoom*table)
}

// writable is how much more a disk takes before servers stop writing to it; below 0 when they have.
func writable(d driver.Disk) int64 {
	return int64(float64(d.Capacity)/100*fullest) - (d.Capacity - d.Available)
}

// overfull says why a disk has no room for so many bytes more, "" when it has or tells no capacity. what is who wants them.
func overfull(d driver.Disk, what string, more int64) string {
	if d.Capacity <= 0 || more <= writable(d) {
		return ""
	}
	return fmt.Sprintf("%s of %s are used, and %s %s: servers do not write to a disk that is over %d %% full",
		inMebi(d.Capacity-d.Available), inMebi(d.Capacity), what, inMebi(more), fullest)
}

func inMebi(bytes int64) string { return fmt.Sprintf("%d MiB", bytes/mebi) }
