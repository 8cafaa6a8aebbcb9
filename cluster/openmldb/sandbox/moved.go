package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/sandbox/coord"
	"shardsh/commands/spec"
)

// endpointsFile holds, in a cluster's directory, the addresses of its last run: one a line, the nameservers first. Tables
// name their tablets by address, and the next run may find itself on another network.
const endpointsFile = "endpoints"

// adapt makes what an earlier run left name the servers as they are called in this one.
func (c *cluster) adapt() error {
	file := filepath.Join(c.dir, endpointsFile)
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := c.vacant(); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		old := strings.Fields(string(text))
		if len(old) != len(c.all()) {
			return fmt.Errorf("%s names %d servers", file, len(old))
		}
		if !slices.Equal(old, c.all()) {
			names := map[string]string{}
			for i, at := range c.all() {
				names[old[i]] = at
			}
			if err := c.rename(names); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(file, []byte(strings.Join(c.all(), "\n")+"\n"), 0o600)
}

// vacant refuses a place in a real ZooKeeper where a cluster stands whose data this directory does not have.
func (c *cluster) vacant() error {
	_, _, err := c.session.Get(c.settings.root + "/table/table_index")
	if errors.Is(err, coord.ErrNoNode) {
		return nil
	}
	if err == nil {
		err = spec.Errorf(spec.Refused, "another cluster stands at %s%s", strings.Join(c.settings.zk, ","), c.settings.root).
			WithHint("use another path, or the --data-dir of that cluster")
	}
	return err
}

// rename replaces addresses everywhere in the tree. Tablets are told theirs when they load.
func (c *cluster) rename(names map[string]string) error {
	for _, folder := range []string{"/table/table_data", "/table/db_table_data", "/op/op_data"} {
		err := c.rewrite(c.settings.root+folder, func(data []byte) ([]byte, error) {
			if folder == "/op/op_data" {
				return renameOp(data, names)
			}
			t := &ns.TableInfo{}
			if err := proto.Unmarshal(data, t); err != nil {
				return nil, err
			}
			renameIn(t.ProtoReflect(), names)
			return proto.Marshal(t)
		})
		if err != nil {
			return err
		}
	}
	sdk := c.settings.root + "/map/sdkendpoints"
	servers, err := c.session.Children(sdk)
	if errors.Is(err, coord.ErrNoNode) {
		return nil
	}
	for _, server := range servers {
		data, _, e := c.session.Get(sdk + "/" + server)
		if err = errors.Join(err, e); names[server] == "" || err != nil {
			continue
		}
		_, made := c.session.Create(sdk+"/"+names[server], data, coord.Persistent)
		err = errors.Join(err, made, c.session.Delete(sdk+"/"+server, coord.AnyVersion))
	}
	return err
}

// rewrite changes what the children of a node hold.
func (c *cluster) rewrite(folder string, how func([]byte) ([]byte, error)) error {
	children, err := c.session.Children(folder)
	if errors.Is(err, coord.ErrNoNode) {
		return nil
	}
	for _, name := range children {
		at := folder + "/" + name
		data, version, e := c.session.Get(at)
		if e == nil {
			data, e = how(data)
		}
		if e == nil {
			e = c.session.Set(at, data, version)
		}
		if e != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", at, e))
		}
	}
	return err
}

// renameOp does it in the record of an operation, whose plan is a message of its own, or just an address.
func renameOp(data []byte, names map[string]string) ([]byte, error) {
	o := &api.OPInfo{}
	if err := proto.Unmarshal(data, o); err != nil {
		return nil, err
	}
	var plan proto.Message
	switch o.GetOpType() {
	case api.OPType_kAddReplicaOP:
		plan = &ns.AddReplicaNSRequest{}
	case api.OPType_kChangeLeaderOP:
		plan = &ns.ChangeLeaderData{}
	case api.OPType_kMigrateOP:
		plan = &ns.MigrateInfo{}
	case api.OPType_kUpdatePartitionStatusOP, api.OPType_kUpdateTableAliveOP:
		plan = &ns.EndpointStatusData{}
	case api.OPType_kDelReplicaOP, api.OPType_kOfflineReplicaOP, api.OPType_kReLoadTableOP:
		if to := names[string(o.GetData())]; to != "" {
			o.Data = []byte(to)
		}
	case api.OPType_kMakeSnapshotOP, api.OPType_kAddIndexOP: // they name no server
	default:
		plan = &ns.RecoverTableData{}
	}
	if plan != nil {
		if err := proto.Unmarshal(o.GetData(), plan); err != nil {
			return nil, err
		}
		renameIn(plan.ProtoReflect(), names)
		var err error
		if o.Data, err = proto.Marshal(plan); err != nil {
			return nil, err
		}
	}
	return proto.Marshal(o)
}

// renameIn replaces every text of a message that is one of the names.
func renameIn(m protoreflect.Message, names map[string]string) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
		case f.IsList():
			for i := range v.List().Len() {
				if f.Kind() == protoreflect.MessageKind {
					renameIn(v.List().Get(i).Message(), names)
				} else if f.Kind() == protoreflect.StringKind && names[v.List().Get(i).String()] != "" {
					v.List().Set(i, protoreflect.ValueOfString(names[v.List().Get(i).String()]))
				}
			}
		case f.Kind() == protoreflect.MessageKind:
			renameIn(v.Message(), names)
		case f.Kind() == protoreflect.StringKind && names[v.String()] != "":
			m.Set(f, protoreflect.ValueOfString(names[v.String()]))
		}
		return true
	})
}
