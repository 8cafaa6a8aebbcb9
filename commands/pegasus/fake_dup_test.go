package pegasus

import (
	"context"
	"fmt"

	"shardsh/cluster"
	driver "shardsh/cluster/pegasus"
	"shardsh/commands/spec"
)

// fakeDups is the part of the fake that duplicates tables.
type fakeDups struct {
	list    map[string][]driver.Duplication
	able    bool // lists all at once, as from 2.6 on
	release driver.Version
	asked   []string
	onAsked func()
}

func (f *fake) dupAsk(format string, args ...any) error {
	f.dups.asked = append(f.dups.asked, fmt.Sprintf(format, args...))
	if f.dups.onAsked != nil {
		f.dups.onAsked()
	}
	return nil
}

func (f *fake) ServerVersion(context.Context, string) (driver.Version, error) {
	return f.dups.release, nil
}

func (f *fake) AddDuplication(_ context.Context, table string, n driver.NewDuplication) (int32, error) {
	return 77, f.dupAsk("add %s %+v", table, n)
}

func (f *fake) Duplications(_ context.Context, table string) ([]driver.Duplication, error) {
	return f.dups.list[table], nil
}

func (f *fake) DuplicationsOf(_ context.Context, apps []driver.App) (map[string][]driver.Duplication, error) {
	all := map[string][]driver.Duplication{}
	for _, a := range apps {
		if a.Duplicating {
			all[a.Name] = f.dups.list[a.Name]
		}
	}
	return all, nil
}

func (f *fake) ListDuplications(context.Context) (map[string][]driver.Duplication, bool, error) {
	if !f.dups.able {
		return nil, false, nil
	}
	return f.dups.list, true, nil
}

func (f *fake) ChangeDuplication(_ context.Context, table string, id int32, how string) error {
	return f.dupAsk("%s %s %d", how, table, id)
}

func (f *fake) SetDupFailMode(_ context.Context, table string, id int32, mode string) error {
	return f.dupAsk("mode %s %d %s", table, id, mode)
}

// dupEnv has two clusters: the source, and a follower under every other name, or none.
type dupEnv struct {
	*fake
	follower *fake
}

func (e dupEnv) Open(ctx context.Context, name string) (cluster.Driver, error) {
	switch {
	case name == "onebox":
		return e.fake.Open(ctx, name)
	case e.follower == nil:
		return nil, spec.Errorf(spec.NotFound, "there is no cluster %q", name)
	}
	return e.follower, nil
}
