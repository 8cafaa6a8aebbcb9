package tablet

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
)

// Names within a partition's directory.
const (
	metaFile     = "table_meta.txt"
	manifestFile = "MANIFEST"
	snapshotDir  = "snapshot"
	binlogDir    = "binlog"
	indexDir     = "index" // what files of an index that is being built are sent to
)

// roots maps a storage mode to where its partitions are, and where dropped ones go.
func roots(mode common.StorageMode) (db, recycle string, known bool) {
	switch mode {
	case common.StorageMode_kMemory:
		return "db", "recycle", true
	case common.StorageMode_kSSD:
		return "db_ssd", "recycle_ssd", true
	case common.StorageMode_kHDD:
		return "db_hdd", "recycle_hdd", true
	}
	return "", "", false
}

func (t *Tablet) makeRoots() error {
	for _, mode := range []common.StorageMode{common.StorageMode_kMemory, common.StorageMode_kSSD, common.StorageMode_kHDD} {
		db, recycle, _ := roots(mode)
		for _, dir := range []string{db, recycle} {
			if err := os.MkdirAll(filepath.Join(t.c.Dir, dir), 0o700); err != nil {
				return err
			}
		}
	}
	return nil
}

// dir is the directory of a partition with that storage mode; false for a mode that has none.
func (t *Tablet) dir(id partID, mode common.StorageMode) (string, bool) {
	db, _, known := roots(mode)
	return filepath.Join(t.c.Dir, db, fmt.Sprintf("%d_%d", id.tid, id.pid)), known
}

// recycle moves a partition's file or directory to the recycle bin.
func (t *Tablet) recycle(path string, id partID, mode common.StorageMode, what string) error {
	_, bin, _ := roots(mode)
	to := filepath.Join(t.c.Dir, bin, fmt.Sprintf("%d_%d_%s%s", id.tid, id.pid, what, t.stamp()))
	err := os.Rename(path, unused(to))
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// stamp is the time as the store writes it into file names.
func (t *Tablet) stamp() string { return t.tune.now().Format("20060102150405") }

// unused is the path, with a number when something is there already.
func unused(path string) string {
	for i, free := 1, path; ; i++ {
		if _, err := os.Lstat(free); os.IsNotExist(err) {
			return free
		}
		free = fmt.Sprintf("%s.%d", path, i)
	}
}

// plainName says whether a name from the network is one of a file, and not a way to elsewhere.
func plainName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\\\x00") && len(name) < 256
}

// maxText bounds the text files: a table of thousands of columns is shorter.
const maxText = 16 << 20

// writeText writes a message as text, whole or not at all.
func writeText(path string, m proto.Message) error {
	text, err := prototext.MarshalOptions{Multiline: true}.Marshal(m)
	if err != nil {
		return err
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// readText reads a message from text. A file that is not there is os.ErrNotExist, one that is no such text errDamaged.
func readText(path string, m proto.Message) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() > maxText {
		return fmt.Errorf("%w: it has %d bytes", errDamaged, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return parseText(text, m)
}

func parseText(text []byte, m proto.Message) error {
	if err := (prototext.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, m); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return nil
}

// readManifest reads a partition's manifest; not found when there is none.
func readManifest(dir string) (m *api.Manifest, found bool, err error) {
	path := filepath.Join(dir, snapshotDir, manifestFile)
	m = &api.Manifest{}
	err = readText(path, m)
	if os.IsNotExist(err) {
		return m, false, nil
	}
	if err == nil {
		err = checkManifest(m)
	}
	if err != nil {
		return m, false, fmt.Errorf("%s: %w", path, err)
	}
	return m, true, nil
}

func checkManifest(m *api.Manifest) error {
	if !plainName(m.GetName()) {
		return fmt.Errorf("%w: its snapshot is named %q", errDamaged, m.GetName())
	}
	return nil
}
