package pegasus

import (
	"context"
	"fmt"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands/spec"
)

// fakeDisks is the part of the fake that has disks, detects hot keys and loses its metadata.
type fakeDisks struct {
	on     map[string][]driver.Disk // by node
	errs   map[string]error
	moved  []string
	onMove func()

	hot   driver.Hotkey
	asked []string

	lost      bool // the metadata
	seen      []string
	tables    map[string][]driver.App
	recovered []driver.Recovery
	hints     []string
}

func (f *fake) Disks(_ context.Context, endpoint, table string) ([]driver.Disk, error) {
	if err := f.disks.errs[endpoint+" "+table]; err != nil {
		return nil, err
	}
	return f.disks.on[endpoint], nil
}

func (f *fake) MigrateDisk(_ context.Context, endpoint string, app int32, partition int, from, to string) error {
	f.disks.moved = append(f.disks.moved, fmt.Sprintf("%d.%d %s %s %s", app, partition, endpoint, from, to))
	if f.disks.onMove != nil {
		f.disks.onMove()
	}
	return nil
}

func (f *fake) DetectHotkey(_ context.Context, endpoint string, app int32, partition int, kind, action string) (driver.Hotkey, error) {
	f.disks.asked = append(f.disks.asked, fmt.Sprintf("%s %s %d.%d %s", action, kind, app, partition, endpoint))
	return f.disks.hot, f.disks.errs[endpoint]
}

func (f *fake) UnderRecovery(context.Context) (bool, error) {
	return f.disks.lost, f.disks.errs["meta"]
}

func (f *fake) SeenNodes() []string { return f.disks.seen }

func (f *fake) TablesOn(_ context.Context, endpoint string) ([]driver.App, error) {
	return f.disks.tables[endpoint], f.disks.errs[endpoint]
}

func (f *fake) StartRecovery(_ context.Context, r driver.Recovery) ([]string, error) {
	f.disks.recovered = append(f.disks.recovered, r)
	f.disks.lost = false
	return f.disks.hints, nil
}

// twoDisks puts replicas of partitions of table 2 on the disks of a node; the primaries are on ssd1.
func twoDisks(available int64, primaries, secondaries []int, second ...int) []driver.Disk {
	disks := []driver.Disk{
		{Tag: "ssd1", Dir: "/1", Capacity: 100 << 20, Available: 50 << 20},
		{Tag: "ssd2", Dir: "/2", Capacity: 100 << 20, Available: available << 20},
	}
	for _, p := range primaries {
		disks[0].Replicas = append(disks[0].Replicas, driver.DiskReplica{AppID: 2, Partition: p, Primary: true})
	}
	for _, p := range secondaries {
		disks[0].Replicas = append(disks[0].Replicas, driver.DiskReplica{AppID: 2, Partition: p})
	}
	for _, p := range second {
		disks[1].Replicas = append(disks[1].Replicas, driver.DiskReplica{AppID: 2, Partition: p})
	}
	return disks
}

var errSilent = &spec.Error{Kind: spec.Unavailable, Op: "ask a node", Err: fmt.Errorf("no answer")}
