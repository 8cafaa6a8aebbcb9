package commands

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"shardsh/commands/spec"
	"shardsh/storage"
)

var copyFlags = []spec.Flag{
	{Name: "parallel", Kind: spec.ArgInt, Default: "4", Help: "how many files are under way at once"},
	{Name: "max-rate", Kind: spec.ArgRate, Help: "copy no faster than this, 20MB/s; +, - and job rate change it while it runs"},
}

const copyLong = " A file that the destination has with the same size and MD5 is skipped. A destination that tells that it has no room for the others is refused. Every file appears whole or not at all: " +
	"what arrives is compared by its MD5 with what was read, by the service's own checksum where it has one, else by reading it back. A file that fails is tried again, as a whole. " +
	"It is a job: its journal is saved every second, and after Ctrl-C, a crash or an error that does not go away, job resume goes on from there, moving again at most the files that " +
	"were on their way."

// FSPut copies files of this machine to a block service.
func FSPut(env Env) spec.Command {
	return spec.Command{
		Name: "fs put", Topic: "storage", Offline: true,
		Summary: "copy a file or directory of this machine to a block service",
		Long:    "Below a path that ends in a slash it keeps its name." + copyLong,
		Args: []spec.Arg{
			{Name: "file", Kind: spec.ArgFile, Help: "a file or directory of this machine"}, locationArg("to", "SERVICE:PATH"),
		},
		Flags:    copyFlags,
		Examples: []spec.Example{{Line: "fs put rows.json disk:/exports/", Says: "as /exports/rows.json", Setup: putSetup[:1]}},
		SeeAlso:  []string{"fs get", "fs copy", "fs ls"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			s, l, err := Locate(ctx, env, call, 1)
			if err != nil {
				return nil, err
			}
			from, name, err := localPlace(call.Arg(0))
			if err != nil {
				return nil, err
			}
			t := &fileTransfer{from: from, dir: name, shown: call.Arg(0), into: s, to: under(call.Arg(1), l.Path, name), place: l.Service + ":/"}
			if t.source, err = filepath.Abs(call.Arg(0)); err != nil {
				return nil, err
			}
			t.sink = where(env, storage.Location{Service: l.Service, Path: t.to})
			return planCopy(ctx, call, t)
		},
	}
}

// FSGet copies files of a block service to this machine.
func FSGet(env Env) spec.Command {
	return spec.Command{
		Name: "fs get", Topic: "storage", Offline: true,
		Summary: "copy a file or directory of a block service to this machine",
		Long:    "Below a path that ends in a slash it keeps its name, and so does a file below a directory that is there." + copyLong,
		Args: []spec.Arg{
			locationArg("from", "SERVICE:PATH"), {Name: "file", Kind: spec.ArgFile, Help: "where to, on this machine"},
		},
		Flags:    copyFlags,
		Examples: []spec.Example{{Line: "fs get disk:/exports/rows.json copy.json", Says: "as copy.json", Setup: putSetup}},
		SeeAlso:  []string{"fs put", "fs cat", "fs copy"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			s, l, err := Locate(ctx, env, call, 0)
			if err != nil {
				return nil, err
			}
			return planGet(ctx, env, call, s, l)
		},
	}
}

// planGet finds out where a file goes. A directory goes to what the line names whether that is there or not: else the
// line would mean something else when it is run again.
func planGet(ctx context.Context, env Env, call *spec.Call, s storage.Service, l storage.Location) (*spec.Plan, error) {
	target := call.Arg(1)
	if base := filepath.Base(target); base == "." || base == ".." {
		target += "/"
	}
	if info, err := os.Stat(target); err == nil && info.IsDir() && !strings.HasSuffix(target, "/") {
		e, err := s.Stat(ctx, l.Path)
		if err != nil {
			return nil, err
		}
		if !e.Dir {
			target += "/"
		}
	}
	into, name, err := localPlace(target)
	if err != nil {
		return nil, err
	}
	t := &fileTransfer{from: s, dir: l.Path, shown: l.String(), into: into, to: under(target, name, l.Path), place: localDir(target), source: where(env, l)}
	if t.sink, err = filepath.Abs(t.target()); err != nil {
		return nil, err
	}
	return planCopy(ctx, call, t)
}

// FSCopy copies files from block service to block service.
func FSCopy(env Env) spec.Command {
	return spec.Command{
		Name: "fs copy", Topic: "storage", Offline: true,
		Summary: "copy a file or directory from one block service to another",
		Long:    "The bytes pass through this machine. Below a path that ends in a slash the copy keeps its name." + copyLong,
		Args:    []spec.Arg{locationArg("from", "SERVICE:PATH"), locationArg("to", "SERVICE:PATH")},
		Flags:   copyFlags,
		Examples: []spec.Example{
			{Line: "fs copy disk:/exports hdfs_zjy:/exports --max-rate 100MiB/s", Says: "a directory, at 100 MiB/s", Setup: putSetup},
		},
		SeeAlso: []string{"fs put", "fs get", "fs rm", "jobs"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			from, f, err := Locate(ctx, env, call, 0)
			if err != nil {
				return nil, err
			}
			into, l, err := Locate(ctx, env, call, 1)
			if err != nil {
				return nil, err
			}
			t := &fileTransfer{from: from, dir: f.Path, shown: f.String(), into: into, to: under(call.Arg(1), l.Path, f.Path), place: l.Service + ":/"}
			t.source, t.sink = where(env, f), where(env, storage.Location{Service: l.Service, Path: t.to})
			if f.Service == l.Service && (t.to == t.dir || strings.HasPrefix(t.to+"/", t.dir+"/") || t.dir == "") {
				return nil, spec.Errorf(spec.Usage, "%s is at %s or below it", l.String(), f.String())
			}
			return planCopy(ctx, call, t)
		},
	}
}

// localPlace is the directory of a file of this machine as a service, and the file's name in it.
func localPlace(name string) (storage.Service, string, error) {
	if name == "" {
		return nil, "", spec.Errorf(spec.Usage, "no file is named")
	}
	dir := localDir(name)
	s, err := storage.Directory(dir, dir)
	if strings.HasSuffix(name, "/") {
		return s, "", err
	}
	base := filepath.Base(name)
	if base == "." || base == ".." {
		base = ""
	}
	return s, base, err
}

func localDir(name string) string {
	if strings.HasSuffix(name, "/") || name == "." || name == ".." {
		return filepath.Clean(name)
	}
	return filepath.Dir(name)
}

// under is where something called name goes when `typed` was asked for, which is the path p.
func under(typed, p, name string) string {
	if strings.HasSuffix(typed, "/") || strings.HasSuffix(typed, ":") || p == "" {
		return path.Join(p, path.Base("/"+name))
	}
	return p
}

// fileTransfer is a copy that is planned.
type fileTransfer struct {
	from         storage.Service
	dir          string
	shown        string // the source, as people write it
	into         storage.Service
	to           string
	place        string // what stands before paths of the destination
	source, sink string // both, as journals name them

	parallel int
	rate     spec.Rate
	moves    []storage.Move
	there    map[string]storage.Entry // what the destination has, by path
}

func (t *fileTransfer) target() string {
	if strings.HasSuffix(t.place, ":/") {
		return t.place + strings.TrimPrefix(t.to, "/")
	}
	return filepath.Join(t.place, filepath.FromSlash(t.to))
}

// standing is what a copy would find at its destination.
type standing struct {
	files, same, other int
	bytes              int64 // of what is not known to be the same
	more               int64 // how many more the destination will have
}

// planCopy looks at both sides. What would be overwritten with something else is asked about.
func planCopy(ctx context.Context, call *spec.Call, t *fileTransfer) (*spec.Plan, error) {
	var err error
	if t.parallel, err = Parallel(call, "parallel"); err != nil {
		return nil, err
	}
	if t.rate = call.Rate("max-rate"); t.rate.Rows > 0 {
		return nil, spec.Errorf(spec.Usage, "files are held back by bytes, and not by %s", spec.Rate{Rows: t.rate.Rows}).WithHint("write --max-rate 20MB/s")
	}
	if t.moves, err = storage.ListTree(ctx, t.from, t.dir, t.to); err != nil {
		return nil, err
	}
	st, err := t.look(ctx)
	if err != nil {
		return nil, err
	}
	plan := &spec.Plan{Title: fmt.Sprintf("copy %s to %s", t.shown, t.target()), Name: t.target()}
	if st.same == st.files {
		plan.Notes = []string{fmt.Sprintf("%s: the destination has %s", t.shown, Plural(st.files, "file"))}
		return plan, nil
	}
	step := spec.Step{
		Text: fmt.Sprintf("copy %s, %d bytes", Plural(st.files-st.same, "file"), st.bytes), Objects: []string{t.target()}, Class: spec.Alter, Job: t.job(),
	}
	if st.other > 0 {
		step.Class = spec.Risky
		plan.Notes = append(plan.Notes, Plural(st.other, "file")+" of other content would be overwritten")
	} else {
		step.Undo = t.undo()
	}
	plan.Steps = []spec.Step{step}
	return plan, LookAtRoom(ctx, plan, Writing{To: t.into, Dir: t.to, Bytes: max(st.more, 0), Resumed: call.Resumed, Small: true})
}

// undo removes what was copied, where the destination had nothing, also of other names, and words can remove it.
func (t *fileTransfer) undo() string {
	if !strings.HasSuffix(t.place, ":/") || len(t.there) > 0 {
		return ""
	}
	return "fs rm -r " + t.target()
}

// look compares what there is with what would come, by size and by the checksums that are at hand.
func (t *fileTransfer) look(ctx context.Context) (standing, error) {
	t.there = map[string]storage.Entry{}
	for e, err := range storage.Walk(ctx, t.into, t.to) {
		if err != nil {
			if r := storage.ReasonOf(err); r == storage.NoFile || r == storage.NoPlace && t.into.Type() != storage.S3Type { // buckets are not made
				break
			}
			return standing{}, err
		}
		t.there[e.Path] = e
	}
	var st standing
	for _, m := range t.moves {
		st.files++
		e, found := t.there[m.To]
		switch {
		case found && e.Size == m.From.Size && e.MD5 != "" && e.MD5 == m.From.MD5:
			st.same++
			continue
		case found && (e.Size != m.From.Size || differ(e, m.From)):
			st.other++
		}
		st.bytes += m.From.Size
		st.more += m.From.Size - e.Size
	}
	return st, nil
}
