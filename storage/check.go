package storage

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// CheckStep is a step of Check.
type CheckStep struct {
	Step   string // reach, write, list, read, delete
	Detail string // what was found, in a few words
	Took   time.Duration
	Err    error // of this step; those behind it were not tried
}

// probeSize is enough for several chunks of an HDFS, and nothing to anybody.
const probeSize = 64 << 10

// Check tries in a place of its own all that one does to a block service: reaches it, writes a file, lists, reads back and
// deletes it. It goes as far as it can, and answers what it did and the first error; the file is deleted in any case.
func Check(ctx context.Context, s Service) ([]CheckStep, error) {
	id := make([]byte, 8)
	if _, err := rand.Read(id); err != nil {
		return nil, err
	}
	p := &probe{ctx: ctx, s: s, dir: ".shardsh-check-" + hex.EncodeToString(id), data: make([]byte, probeSize)}
	if _, err := rand.Read(p.data); err != nil {
		return nil, err
	}
	p.name = p.dir + "/probe"
	for _, step := range []struct {
		name string
		do   func() (string, error)
	}{{"reach", p.reach}, {"write", p.write}, {"list", p.list}, {"read", p.read}, {"delete", p.remove}} {
		if err := p.step(step.name, step.do); err != nil {
			if p.written {
				p.tidy()
			}
			return p.steps, err
		}
	}
	return p.steps, nil
}

type probe struct {
	ctx       context.Context
	s         Service
	dir, name string
	data      []byte
	written   bool
	steps     []CheckStep
}

func (p *probe) step(name string, do func() (string, error)) error {
	started := time.Now()
	detail, err := do()
	p.steps = append(p.steps, CheckStep{name, detail, time.Since(started), err})
	return err
}

func (p *probe) tidy() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), defaultTimeout)
	defer cancel()
	_ = RemoveAll(ctx, p.s, p.dir, nil) // the step that failed is what is told
}

// reach asks for the root; a directory that the first file would make need not be there yet.
func (p *probe) reach() (string, error) {
	_, err := p.s.Stat(p.ctx, "")
	if err != nil && ReasonOf(err) == NoPlace && p.s.Type() != S3Type {
		return "the directory is not there yet", nil
	}
	return "it answers", err
}

func (p *probe) write() (string, error) {
	p.written = true
	return fmt.Sprintf("%d bytes", len(p.data)), WriteFile(p.ctx, p.s, p.name, p.data)
}

func (p *probe) list() (string, error) {
	var found []string
	for e, err := range p.s.List(p.ctx, p.dir) {
		if err != nil {
			return "", err
		}
		if e.Path == p.name && e.Size != int64(len(p.data)) {
			return "", failure("list "+p.dir, p.s.Name(), Corrupt, corrupt("%d bytes were written, and %d are listed", len(p.data), e.Size))
		}
		found = append(found, e.Name)
	}
	if len(found) != 1 || found[0] != "probe" {
		return "", failure("list "+p.dir, p.s.Name(), Corrupt, fmt.Errorf("the file that was written is not listed, but [%s]", strings.Join(found, " ")))
	}
	return "it is listed", nil
}

func (p *probe) read() (string, error) {
	got, err := ReadFile(p.ctx, p.s, p.name, int64(len(p.data)))
	if err != nil {
		return "", err
	}
	if !bytes.Equal(got, p.data) {
		return "", failure("read "+p.name, p.s.Name(), Corrupt, corrupt("it is not what was written"))
	}
	sum := md5.Sum(got)
	return "MD5 " + hex.EncodeToString(sum[:4]) + "…, as written", nil
}

func (p *probe) remove() (string, error) {
	if err := RemoveAll(p.ctx, p.s, p.dir, nil); err != nil {
		return "", err
	}
	there, err := Exists(p.ctx, p.s, p.name)
	if err == nil && there {
		err = failure("remove "+p.name, p.s.Name(), Corrupt, fmt.Errorf("it is still there"))
	}
	return "it is gone", err
}
