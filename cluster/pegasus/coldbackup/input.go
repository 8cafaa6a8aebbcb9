package coldbackup

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"shardsh/cluster/pegasus/rocksdb"
	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// Input is what is there of the input of a bulk load. Problems say what servers would fail on, or load wrongly without a
// word.
type Input struct {
	Dir        string
	Info       *LoadInfo // nil when there is none to read
	Partitions []*InputPartition
	Problems   []Problem
}

// InputPartition is the input of one partition.
type InputPartition struct {
	Index int
	Dir   string
	// Files are those that its list has; nil when there is none to read.
	Files    []File
	Size     int64 // bytes of all files
	Rows     int64 // as the tables themselves say; what is in a table that cannot be read is not counted
	Problems []Problem
	spans    []span
}

// span is from where to where the keys of a table go.
type span struct {
	file        string
	first, last []byte
}

// Totals adds up all partitions.
func (in *Input) Totals() (files int, size, rows int64) {
	for _, p := range in.Partitions {
		files += len(p.Files)
		size += p.Size
		rows += p.Rows
	}
	return files, size, rows
}

// inputsAtOnce is how many partitions are looked at together.
const inputsAtOnce = 16

// LoadInput reads the lists of a bulk load's input, and of every table its size, its properties and its first and last key,
// for a table that is as want says. behind says that rows which are there shall win: then RocksDB takes no tables that
// overlap. The error is of the store.
func LoadInput(ctx context.Context, s Store, dir string, want LoadInfo, behind bool) (*Input, error) {
	in := &Input{Dir: dir}
	entries, err := list(ctx, s, dir)
	switch {
	case err != nil:
		return nil, err
	case len(entries) == 0:
		in.Problems = []Problem{{path.Join(dir, LoadInfoFile), "it is missing, as all of the folder is"}}
		return in, nil
	}
	if err := in.loadInfo(ctx, s, entries, want); err != nil {
		return nil, err
	}
	for i := range int(want.PartitionCount) {
		in.Partitions = append(in.Partitions, &InputPartition{Index: i, Dir: LoadPartitionDir(dir, i)})
	}
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(inputsAtOnce)
	for _, p := range in.Partitions {
		g.Go(func() error { return p.load(inner, s, int(want.PartitionCount), behind) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, p := range in.Partitions {
		in.Problems = append(in.Problems, p.Problems...)
	}
	return in, nil
}

func (in *Input) loadInfo(ctx context.Context, s Store, entries []Entry, want LoadInfo) error {
	data, d, why, err := document(ctx, s, in.Dir, entries, LoadInfoFile, maxSmall)
	if err != nil {
		return err
	}
	wrong := func(why string) { in.Problems = append(in.Problems, Problem{d.Path, why}) }
	if why == nil {
		why = d.asStored()
	}
	if why == nil {
		in.Info, why = parse[LoadInfo](data)
	}
	if why == nil {
		why = hasKeys(data, "app_id", "app_name", "partition_count")
	}
	if why != nil {
		in.Info = nil
		wrong(why.Error())
		return nil
	}
	if in.Info.AppName != want.AppName {
		wrong(fmt.Sprintf("it is for the table %q", in.Info.AppName))
	}
	if in.Info.AppID != want.AppID {
		wrong(fmt.Sprintf("it is for a table with the id %d, and that of %s is %d", in.Info.AppID, want.AppName, want.AppID))
	}
	if in.Info.PartitionCount != want.PartitionCount {
		wrong(fmt.Sprintf("it is for %d partitions, and %s has %d", in.Info.PartitionCount, want.AppName, want.PartitionCount))
	}
	return nil
}

// asStored compares what was read with what the service has of it.
func (d Document) asStored() error {
	if d.Stored != "" && d.Stored != d.MD5 {
		return fmt.Errorf("its MD5 is %s, and the service has %s", d.MD5, d.Stored)
	}
	return nil
}

func (p *InputPartition) wrong(name, format string, args ...any) {
	p.Problems = append(p.Problems, Problem{path.Join(p.Dir, name), fmt.Sprintf(format, args...)})
}

func (p *InputPartition) load(ctx context.Context, s Store, partitions int, behind bool) error {
	entries, err := list(ctx, s, p.Dir)
	if err != nil {
		return err
	}
	data, d, why, err := document(ctx, s, p.Dir, entries, LoadMetadataFile, maxCheckpoint)
	if err != nil {
		return err
	}
	var m *LoadMetadata
	if why == nil {
		why = d.asStored()
	}
	if why == nil {
		m, why = ParseLoadMetadata(data)
	}
	if why == nil {
		why = asServersRead(data, m)
	}
	if why != nil {
		p.wrong(LoadMetadataFile, "%v", why)
		return nil
	}
	p.Files, p.Size = m.Files, m.TotalSize
	there := make(map[string]Entry, len(entries))
	for _, e := range entries {
		if !e.Dir {
			there[e.Name] = e
		}
	}
	for _, f := range m.Files {
		e, ok := there[f.Name]
		switch {
		case !ok:
			p.wrong(f.Name, "it is missing")
		case e.Size != f.Size:
			p.wrong(f.Name, "it has %d bytes instead of %d", e.Size, f.Size)
		case f.MD5 != "" && e.MD5 != "" && !equalHex(f.MD5, e.MD5):
			p.wrong(f.Name, "the service has the MD5 %s, and its list %s", e.MD5, f.MD5)
		default:
			if err := p.look(ctx, s, f, partitions); err != nil {
				return err
			}
		}
	}
	if behind {
		p.checkOverlap()
	}
	return nil
}

// hasKeys demands the keys of a JSON object letter by letter, as servers do.
func hasKeys(data []byte, keys ...string) error {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	for _, k := range keys {
		if _, ok := m[k]; !ok {
			return fmt.Errorf("it has no %q", k)
		}
	}
	return nil
}

// asServersRead demands what servers do of a list that has been read here: they take keys and MD5s letter by letter.
func asServersRead(data []byte, m *LoadMetadata) error {
	if err := hasKeys(data, "files", "file_total_size"); err != nil {
		return err
	}
	var raw struct {
		Files []json.RawMessage `json:"files"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	if len(raw.Files) != len(m.Files) {
		return errors.New("its files are there twice")
	}
	for i, f := range m.Files {
		if err := hasKeys(raw.Files[i], "name", "size", "md5"); err != nil {
			return fmt.Errorf("file %d: %w", i, err)
		}
		if f.MD5 != strings.ToLower(f.MD5) {
			return fmt.Errorf("%s: the MD5 %s is not in small letters, as servers write it", f.Name, f.MD5)
		}
	}
	return nil
}

func equalHex(a, b string) bool { return bytes.EqualFold([]byte(a), []byte(b)) }

// lookAhead is how many bytes are read at once where only the ends of a table are looked at.
const lookAhead = 16 << 10

// look opens a table as far as it takes to know whether servers can ingest it. The error is of the store.
func (p *InputPartition) look(ctx context.Context, s Store, f File, partitions int) error {
	t, err := rocksdb.OpenTable(&file{ctx, s, path.Join(p.Dir, f.Name), f.Size}, rocksdb.ReadOptions{ReadAhead: lookAhead})
	if err != nil {
		return p.damaged(f.Name, err)
	}
	if !t.Properties().External() {
		p.wrong(f.Name, "it was not made to be ingested: it says no version of external tables")
		return nil
	}
	first, last, err := t.Bounds()
	switch {
	case err != nil:
		return p.damaged(f.Name, err)
	case first == nil:
		p.wrong(f.Name, "it has no entry, and RocksDB ingests no such table")
		return nil
	}
	for _, key := range [][]byte{first, last} {
		if why := misplacedKey(key, p.Index, partitions); why != "" {
			p.wrong(f.Name, "%s", why)
			return nil
		}
	}
	p.Rows += t.Properties().Rows()
	p.spans = append(p.spans, span{f.Name, first, last})
	return nil
}

// damaged tells what is wrong with a table from what went wrong with the service.
func (p *InputPartition) damaged(name string, err error) error {
	if errors.Is(err, rocksdb.ErrCorrupt) || errors.Is(err, rocksdb.ErrUnsupported) || errors.Is(err, ErrDamaged) || spec.KindOf(err) == spec.NotFound {
		p.wrong(name, "%v", err)
		return nil
	}
	return err
}

// misplacedKey says why a key cannot be in a partition, "" when it can. Servers do not look: nobody would find its row.
func misplacedKey(key []byte, partition, partitions int) string {
	hash, sort, err := wire.DecodeKey(key)
	if err != nil {
		return fmt.Sprintf("the key %.40x: %v", key, err)
	}
	if at := wire.PartitionOf(wire.Hash(hash, sort), partitions); at != partition {
		return fmt.Sprintf("the key %.40x belongs to partition %d, where clients would look for it", key, at)
	}
	return ""
}

// checkOverlap names tables whose keys do not all come behind those of the table before.
func (p *InputPartition) checkOverlap() {
	slices.SortFunc(p.spans, func(a, b span) int { return cmp.Or(bytes.Compare(a.first, b.first), cmp.Compare(a.file, b.file)) })
	for i := 1; i < len(p.spans); i++ {
		if bytes.Compare(p.spans[i].first, p.spans[i-1].last) <= 0 {
			p.wrong(p.spans[i].file, "its keys overlap with those of %s, which is not taken behind the rows that there are", p.spans[i-1].file)
		}
	}
}

// CheckInput reads every file of an input, parallel at once: it compares its MD5, and looks at every row. Read is called
// with the bytes that are done, by several goroutines; its error ends the check. The problems are by path.
func CheckInput(ctx context.Context, s Store, in *Input, parallel int, read func(bytes int64) error) ([]Problem, error) {
	type task struct {
		p *InputPartition
		f File
	}
	var tasks []task
	for _, p := range in.Partitions {
		for _, f := range p.Files {
			tasks = append(tasks, task{p, f})
		}
	}
	found := make([]Problem, len(tasks))
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(max(parallel, 1))
	for i, t := range tasks {
		g.Go(func() error {
			why, err := t.p.checkFile(inner, s, t.f, len(in.Partitions))
			if why != "" {
				found[i] = Problem{path.Join(t.p.Dir, t.f.Name), why}
			}
			if err == nil {
				err = read(t.f.Size)
			}
			return err
		})
	}
	err := g.Wait()
	return slices.DeleteFunc(found, func(p Problem) bool { return p.Why == "" }), err
}

func (p *InputPartition) checkFile(ctx context.Context, s Store, f File, partitions int) (why string, err error) {
	c, err := CheckFile(ctx, s, p.Dir, f)
	if err != nil {
		return "", err
	}
	if c.Verdict == Damaged || c.Verdict == Missing {
		return c.Why, nil
	}
	t, err := rocksdb.OpenTable(&file{ctx, s, c.Path, f.Size}, rocksdb.ReadOptions{})
	if err == nil {
		it := t.NewIterator()
		defer it.Close()
		for it.Next() {
			if why := misplacedKey(it.Key().User, p.Index, partitions); why != "" {
				return why, nil
			}
		}
		err = it.Err()
	}
	if errors.Is(err, rocksdb.ErrCorrupt) || errors.Is(err, rocksdb.ErrUnsupported) || errors.Is(err, ErrDamaged) {
		return err.Error(), nil
	}
	return "", err
}
