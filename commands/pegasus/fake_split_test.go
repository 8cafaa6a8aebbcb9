package pegasus

import (
	"context"
	"fmt"

	driver "shardsh/cluster/pegasus"
)

// fakeSplit is the part of the fake that splits and compacts: it notes what was asked, and onSplit may carry it out.
type fakeSplit struct {
	now      *driver.Split
	asked    []string
	onAsked  func()
	err      error
	activity driver.Activity
	// progress answers the n-th query (from 1) of a compaction; nil: none was started.
	progress func(n int) int
	queries  int
	backups  []driver.Backup
	restore  driver.Restore
	// sizes are MiB of a table's replicas on every node, by partition; nil: servers do not tell.
	sizes map[int]float64
}

func (f *fake) ask(format string, args ...any) error {
	f.split.asked = append(f.split.asked, fmt.Sprintf(format, args...))
	if f.split.onAsked != nil {
		f.split.onAsked()
	}
	return f.split.err
}

func (f *fake) StartSplit(_ context.Context, table string, partitions int) error {
	return f.ask("start %s %d", table, partitions)
}

func (f *fake) Split(context.Context, string) (*driver.Split, error) {
	f.split.queries++
	return f.split.now, nil
}

func (f *fake) ControlSplit(_ context.Context, table, how string, parent, old int) error {
	return f.ask("%s %s %d %d", how, table, parent, old)
}

func (f *fake) StartCompaction(_ context.Context, table string, c driver.Compaction) error {
	return f.ask("compact %s %+v", table, c)
}

func (f *fake) CompactionProgress(context.Context, string) (int, bool, error) {
	if f.split.progress == nil {
		return 0, false, nil
	}
	f.split.queries++
	return f.split.progress(f.split.queries), true, nil
}

func (f *fake) Sample(_ context.Context, endpoint string, want driver.Wanted) (*driver.Sample, error) {
	if f.split.sizes == nil {
		return nil, fmt.Errorf("%s has no figures", endpoint)
	}
	s := &driver.Sample{Endpoint: endpoint, Replicas: map[driver.ReplicaID]map[string]float64{}}
	for p, mb := range f.split.sizes {
		s.Replicas[driver.ReplicaID{App: want.App, Partition: p}] = map[string]float64{want.Replica[0]: mb}
	}
	return s, nil
}

func (f *fake) Activity(context.Context) (driver.Activity, error) { return f.split.activity, nil }

func (f *fake) Backups(context.Context, []driver.App) ([]driver.Backup, error) {
	return f.split.backups, nil
}

func (f *fake) Restore(context.Context, driver.App) (driver.Restore, error) {
	return f.split.restore, nil
}
