package rocksdb

import (
	"encoding/binary"
	"slices"
)

// The tags of a version edit. One with tagSkippable has its length behind it and may be passed over.
const (
	tagComparator    = 1
	tagLogNumber     = 2
	tagNextFile      = 3
	tagLastSequence  = 4
	tagCompactCursor = 5
	tagDeletedFile   = 6
	tagNewFile       = 7
	tagPrevLog       = 9
	tagMinLog        = 10
	tagNewFile2      = 100
	tagNewFile3      = 102
	tagNewFile4      = 103
	tagFamily        = 200
	tagFamilyAdd     = 201
	tagFamilyDrop    = 202
	tagMaxFamily     = 203
	tagAtomicGroup   = 300
	tagBlobFile      = 400
	tagBlobGarbage   = 401
	tagSkippable     = 1 << 13
	tagWALAddition   = tagSkippable + 4 // skippable by its number, but its length is not told
	tagWALDeletion   = tagSkippable + 5

	// The fields behind a NewFile4, each a tag and bytes with their length.
	fieldEnd      = 1
	fieldBlobFile = 4
	fieldRequired = 1 << 6 // a field with this bit must be understood
	fieldPath     = fieldRequired + 1
	walFieldEnd   = 1
	walFieldSize  = 2
	maxLevel      = 1 << 10 // more levels than any configuration has
)

// FileMeta is a table as the MANIFEST has it.
type FileMeta struct {
	Number            uint64
	Level             int
	Size              int64 // bytes
	Smallest, Largest InternalKey
	SmallestSeqno     uint64
	LargestSeqno      uint64
}

type levelFile struct {
	level  int
	number uint64
}

// edit is one record of a MANIFEST. Pointers are nil for what it does not say.
type edit struct {
	comparator               *string
	logNumber, next, lastSeq *uint64
	family                   uint32
	addFamily                *string
	dropFamily               bool
	maxFamily                *uint32
	groupLeft                uint32 // records of the same atomic group that follow
	deleted                  []levelFile
	added                    []FileMeta
}

func (e *edit) encode() []byte {
	var b []byte
	number := func(tag, v uint64) { b = binary.AppendUvarint(binary.AppendUvarint(b, tag), v) }
	if e.comparator != nil {
		b = appendPrefixed(binary.AppendUvarint(b, tagComparator), *e.comparator)
	}
	for _, n := range []struct {
		tag   uint64
		value *uint64
	}{{tagLogNumber, e.logNumber}, {tagNextFile, e.next}, {tagLastSequence, e.lastSeq}} {
		if n.value != nil {
			number(n.tag, *n.value)
		}
	}
	if e.maxFamily != nil {
		number(tagMaxFamily, uint64(*e.maxFamily))
	}
	for _, d := range e.deleted {
		number(tagDeletedFile, uint64(d.level))
		b = binary.AppendUvarint(b, d.number)
	}
	for i := range e.added {
		b = e.added[i].append(b)
	}
	if e.family != 0 {
		number(tagFamily, uint64(e.family))
	}
	if e.addFamily != nil {
		b = appendPrefixed(binary.AppendUvarint(b, tagFamilyAdd), *e.addFamily)
	}
	if e.dropFamily {
		b = binary.AppendUvarint(b, tagFamilyDrop)
	}
	if e.groupLeft != 0 {
		number(tagAtomicGroup, uint64(e.groupLeft))
	}
	return b
}

func (f *FileMeta) append(b []byte) []byte {
	for _, v := range []uint64{tagNewFile4, uint64(f.Level), f.Number, uint64(f.Size)} {
		b = binary.AppendUvarint(b, v)
	}
	b = appendPrefixed(b, f.Smallest.append(nil))
	b = appendPrefixed(b, f.Largest.append(nil))
	for _, v := range []uint64{f.SmallestSeqno, f.LargestSeqno, fieldEnd} {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

func decodeEdit(b []byte) (*edit, error) {
	e, c := &edit{}, &cursor{b: b}
	for len(c.b) > 0 {
		if err := e.field(c, c.uvarint32()); err != nil {
			return nil, err
		}
		if c.err != nil {
			return nil, c.err
		}
	}
	return e, c.err
}

// field decodes what stands behind a tag.
func (e *edit) field(c *cursor, tag uint32) error {
	number := func(to **uint64) { v := c.uvarint(); *to = &v }
	text := func(to **string) { v := string(c.prefixed()); *to = &v }
	switch tag {
	case tagComparator:
		text(&e.comparator)
	case tagLogNumber:
		number(&e.logNumber)
	case tagNextFile:
		number(&e.next)
	case tagLastSequence:
		number(&e.lastSeq)
	case tagPrevLog, tagMinLog:
		c.uvarint()
	case tagCompactCursor:
		c.level()
		c.prefixed()
	case tagDeletedFile:
		e.deleted = append(e.deleted, levelFile{c.level(), c.uvarint()})
	case tagNewFile, tagNewFile2, tagNewFile3, tagNewFile4:
		f, err := c.newFile(tag)
		if err != nil {
			return err
		}
		e.added = append(e.added, f)
	default:
		return e.rare(c, tag)
	}
	return nil
}

func (e *edit) rare(c *cursor, tag uint32) error {
	switch tag {
	case tagFamily:
		e.family = c.uvarint32()
	case tagFamilyAdd:
		v := string(c.prefixed())
		e.addFamily = &v
	case tagFamilyDrop:
		e.dropFamily = true
	case tagMaxFamily:
		v := c.uvarint32()
		e.maxFamily = &v
	case tagAtomicGroup:
		e.groupLeft = c.uvarint32()
	case tagBlobFile, tagBlobGarbage:
		return unsupportedf("values in blob files")
	case tagWALDeletion:
		c.uvarint()
	case tagWALAddition:
		c.walAddition()
	default:
		if tag&tagSkippable == 0 {
			return unsupportedf("a version edit with the tag %d", tag)
		}
		c.prefixed()
	}
	return nil
}

func (c *cursor) level() int {
	v := c.uvarint32()
	if v >= maxLevel {
		c.fail("level %d", v)
	}
	return int(v)
}

func (c *cursor) walAddition() {
	c.uvarint()
	for c.err == nil {
		switch tag := c.uvarint32(); tag {
		case walFieldEnd:
			return
		case walFieldSize:
			c.uvarint()
		default:
			c.fail("field %d of a log", tag)
		}
	}
}

func (c *cursor) internalKey() InternalKey {
	k, err := parseInternalKey(c.prefixed())
	if err != nil && c.err == nil {
		c.err = err
	}
	k.User = slices.Clone(k.User)
	return k
}

func (c *cursor) newFile(tag uint32) (FileMeta, error) {
	f := FileMeta{Level: c.level(), Number: c.uvarint()}
	if tag == tagNewFile3 && c.uvarint32() != 0 {
		return f, unsupportedf("tables in several folders")
	}
	size := c.uvarint()
	if size > 1<<62 {
		c.fail("a table of %d bytes", size)
	}
	f.Size = int64(size)
	f.Smallest, f.Largest = c.internalKey(), c.internalKey()
	if tag != tagNewFile {
		f.SmallestSeqno, f.LargestSeqno = c.uvarint(), c.uvarint()
	} else {
		f.SmallestSeqno, f.LargestSeqno = 0, MaxSeqno
	}
	for tag == tagNewFile4 && c.err == nil {
		field := c.uvarint32()
		if field == fieldEnd {
			break
		}
		if err := fileField(field, c.prefixed()); err != nil {
			return f, err
		}
	}
	return f, c.err
}

// fileField judges a field behind a table: most tell what a reader needs not know.
func fileField(field uint32, value []byte) error {
	switch {
	case field == fieldPath:
		if len(value) != 1 || value[0] != 0 {
			return unsupportedf("tables in several folders")
		}
	case field == fieldBlobFile:
		if v, n := binary.Uvarint(value); n <= 0 || v != 0 {
			return unsupportedf("values in blob files")
		}
	case field&fieldRequired != 0:
		return unsupportedf("a table with the field %d", field)
	}
	return nil
}
