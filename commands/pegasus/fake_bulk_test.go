package pegasus

import (
	"context"
	"fmt"

	"shardsh/cluster"
	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/storage"
)

// fakeBulk is the part of the fake that loads files: looks answers the n-th look (from 1) at a bulk load.
type fakeBulk struct {
	asked []string
	looks func(n int) (driver.BulkLoad, error)
	n     int
	start error
	clear error
}

func (f *fake) BulkLoad(context.Context, string) (driver.BulkLoad, error) {
	f.bulk.n++
	if f.bulk.looks == nil {
		return driver.BulkLoad{Status: bulkNone, Code: "ERR_OK"}, nil
	}
	return f.bulk.looks(f.bulk.n)
}

// bulkFake is a cluster that can be bulk loaded, and its own environment with the block services there are.
type bulkFake struct {
	*countingFake
	blocks   []commands.Block
	services map[string]storage.Service
}

func (f *bulkFake) Open(context.Context, string) (cluster.Driver, error) { return f, nil }

func (f *bulkFake) Blocks() []commands.Block { return f.blocks }

func (f *bulkFake) Block(ctx context.Context, name string) (storage.Service, error) {
	if s := f.services[name]; s != nil {
		return s, nil
	}
	return f.fake.Block(ctx, name)
}

func (f *bulkFake) StartBulkLoad(_ context.Context, n driver.NewBulkLoad) error {
	f.bulk.asked = append(f.bulk.asked, fmt.Sprintf("start %+v", n))
	return f.bulk.start
}

func (f *bulkFake) ControlBulkLoad(_ context.Context, table, how string) error {
	f.bulk.asked = append(f.bulk.asked, how+" "+table)
	return nil
}

func (f *bulkFake) ClearBulkLoad(_ context.Context, table string) error {
	f.bulk.asked = append(f.bulk.asked, "clear "+table)
	return f.bulk.clear
}

func (*bulkFake) ServerVersion(context.Context, string) (driver.Version, error) {
	return driver.Version{Major: 2, Minor: 5}, nil
}

// loads are the states that a bulk load goes through, one a look; the last one stays.
func (f *bulkFake) loads(states ...driver.BulkLoad) {
	f.bulk.n = 0
	f.bulk.looks = func(n int) (driver.BulkLoad, error) { return states[min(n, len(states))-1], nil }
}

// load is a bulk load with all partitions in its state.
func load(status string, partitions int) driver.BulkLoad {
	b := driver.BulkLoad{Status: status, Code: "ERR_OK", Replicas: 3}
	switch status {
	case bulkNone, "BLS_CANCELED":
	case "BLS_FAILED":
		b.Code = "ERR_RETRY_EXHAUSTED"
	default:
		b.Loading = true
	}
	for range partitions {
		b.Partitions = append(b.Partitions, driver.BulkPartition{Status: status})
	}
	return b
}

// succeeded is a bulk load that is over.
func succeeded(partitions int) driver.BulkLoad {
	b := load("BLS_SUCCEED", partitions)
	b.Loading = false
	return b
}
