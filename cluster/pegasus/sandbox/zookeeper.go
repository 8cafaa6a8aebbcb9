package sandbox

import (
	"bytes"
	"errors"

	"shardsh/cluster/sandbox/engine"
)

// zookeeper is where the leading meta server keeps tables and groups. It outlives meta servers, and takes nothing from
// one that leads no longer.
type zookeeper interface {
	// load hands over everything that was kept, in the order of keys.
	load(each func(key, value []byte) error) error
	// save keeps all of the values and deletes what is gone, or does nothing.
	save(values map[string][]byte, gone ...string) error
}

// keep is the store of the process that serves the cluster, as a meta server in it has it.
type keep struct{ store *engine.Store }

var _ zookeeper = keep{}

// Everything that meta servers keep is between these, marks such as lostKey at the end.
var keepFrom, keepTo = []byte{'a'}, []byte{'~' + 1}

func (k keep) load(each func(key, value []byte) error) error {
	iter, err := k.store.Iterate(keepFrom, keepTo)
	if err != nil {
		return err
	}
	for ok := iter.First(); ok && err == nil; ok = iter.Next() {
		err = each(iter.Key(), iter.Value())
	}
	return errors.Join(err, iter.Error(), iter.Close())
}

func (k keep) save(values map[string][]byte, gone ...string) error {
	b := k.store.NewBatch()
	for key, value := range values {
		if err := b.Set([]byte(key), value, nil); err != nil {
			return errors.Join(err, b.Close())
		}
	}
	for _, key := range gone {
		if err := b.Delete([]byte(key), nil); err != nil {
			return errors.Join(err, b.Close())
		}
	}
	return k.store.Apply(b)
}

// lost says whether what was kept is lost.
func (k keep) lost() (bool, error) {
	_, err := k.store.Read(lostKey)
	if errors.Is(err, engine.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// partBytes is about how much of the store a meta server in another process is handed at once.
const partBytes = 1 << 20

// part is a part of what is kept: the values of keys after a key.
type part struct {
	Keys, Values [][]byte
	More         bool
}

func (k keep) part(after []byte) (p part, err error) {
	from := keepFrom
	if len(after) > 0 {
		from = append(bytes.Clone(after), 0)
	}
	iter, err := k.store.Iterate(from, keepTo)
	if err != nil {
		return part{}, err
	}
	size := 0
	for ok := iter.First(); ok; ok = iter.Next() {
		if p.More = size >= partBytes; p.More {
			break
		}
		p.Keys, p.Values = append(p.Keys, bytes.Clone(iter.Key())), append(p.Values, bytes.Clone(iter.Value()))
		size += len(iter.Key()) + len(iter.Value())
	}
	return p, errors.Join(iter.Error(), iter.Close())
}
