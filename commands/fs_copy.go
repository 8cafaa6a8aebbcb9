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
	{Name: "rate", Kind: spec.ArgInt, Default: "0", Help: "at most so many MiB per second; 0: as fast as it goes"},
}

const copyLong = " A file that the destination has with the same size and MD5 is skipped, so that the line can be run again after a stop. Every file appears whole or not at all: " +
	"what arrives is compared by its MD5 with what was read, by the service's own checksum where it has one, else by reading it back. A file that fails is tried again, as a whole."

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
			return planCopy(ctx, call, transfer{
				from: from, dir: name, shown: call.Arg(0), into: s, to: under(call.Arg(1), l.Path, name), place: l.Service + ":/",
			})
		},
	}
}

// FSGet copies files of a block service to this machine.
func FSGet(env Env) spec.Command {
	return spec.Command{
		Name: "fs get", Topic: "storage", Offline: true,
		Summary: "copy a file or directory of a block service to this machine",
		Long:    "Into a directory that is there, or a path that ends in a slash, it goes under its name." + copyLong,
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
			target := call.Arg(1)
			if info, err := os.Stat(target); err == nil && info.IsDir() && !strings.HasSuffix(target, "/") {
				target += "/"
			}
			into, name, err := localPlace(target)
			if err != nil {
				return nil, err
			}
			return planCopy(ctx, call, transfer{from: s, dir: l.Path, shown: l.String(), into: into, to: under(target, name, l.Path), place: localDir(target)})
		},
	}
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
			{Line: "fs copy disk:/exports hdfs_zjy:/exports --rate 100", Says: "a directory, at 100 MiB/s", Setup: putSetup},
		},
		SeeAlso: []string{"fs put", "fs get", "fs rm"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			from, f, err := Locate(ctx, env, call, 0)
			if err != nil {
				return nil, err
			}
			into, l, err := Locate(ctx, env, call, 1)
			if err != nil {
				return nil, err
			}
			t := transfer{from: from, dir: f.Path, shown: f.String(), into: into, to: under(call.Arg(1), l.Path, f.Path), place: l.Service + ":/"}
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

// transfer is a copy that is planned.
type transfer struct {
	from  storage.Service
	dir   string
	shown string // the source, as people write it
	into  storage.Service
	to    string
	place string // what stands before paths of the destination
}

func (t transfer) target() string {
	if strings.HasSuffix(t.place, ":/") {
		return t.place + strings.TrimPrefix(t.to, "/")
	}
	return filepath.Join(t.place, filepath.FromSlash(t.to))
}

// standing is what a copy would find at its destination.
type standing struct {
	files, same, other int
	empty              bool  // there is nothing at all
	bytes              int64 // of what is not known to be the same
}

// planCopy looks at both sides. What would be overwritten with something else is asked about.
func planCopy(ctx context.Context, call *spec.Call, t transfer) (*spec.Plan, error) {
	parallel, perSecond := call.Int("parallel"), call.Int("rate")
	if parallel < 1 || parallel > 64 || perSecond < 0 || perSecond > 1<<20 {
		return nil, spec.Errorf(spec.Usage, "--parallel must be between 1 and 64, and --rate between 0 and %d", 1<<20)
	}
	moves, err := storage.ListTree(ctx, t.from, t.dir, t.to)
	if err != nil {
		return nil, err
	}
	st, err := t.look(ctx, moves)
	if err != nil {
		return nil, err
	}
	plan := &spec.Plan{Title: fmt.Sprintf("copy %s to %s", t.shown, t.target()), Name: t.target()}
	if st.same == st.files {
		plan.Notes = []string{fmt.Sprintf("%s: the destination has %s", t.shown, count(st.files, "file"))}
		return plan, nil
	}
	step := spec.Step{
		Text: fmt.Sprintf("copy %s, %d bytes", count(st.files-st.same, "file"), st.bytes), Objects: []string{t.target()}, Class: spec.Alter,
		Apply: func(ctx context.Context, report spec.Report) error {
			return t.run(ctx, moves, parallel, perSecond, report)
		},
	}
	if st.other > 0 {
		step.Class = spec.Risky
		plan.Notes = append(plan.Notes, count(st.other, "file")+" of other content would be overwritten")
	} else {
		step.Undo = t.undo(st)
	}
	plan.Steps = []spec.Step{step}
	return plan, nil
}

// undo removes what was copied, where the destination had nothing, also of other names, and words can remove it.
func (t transfer) undo(st standing) string {
	if !strings.HasSuffix(t.place, ":/") || !st.empty {
		return ""
	}
	return "fs rm -r " + t.target()
}

// look compares what there is with what would come, by size and by the checksums that are at hand.
func (t transfer) look(ctx context.Context, moves []storage.Move) (standing, error) {
	there := map[string]storage.Entry{}
	for e, err := range storage.Walk(ctx, t.into, t.to) {
		if err != nil {
			if r := storage.ReasonOf(err); r == storage.NoFile || r == storage.NoPlace {
				break
			}
			return standing{}, err
		}
		there[e.Path] = e
	}
	st := standing{empty: len(there) == 0}
	for _, m := range moves {
		st.files++
		e, found := there[m.To]
		switch {
		case found && e.Size == m.From.Size && e.MD5 != "" && e.MD5 == m.From.MD5:
			st.same++
			continue
		case found && (e.Size != m.From.Size || e.MD5 != "" && m.From.MD5 != ""):
			st.other++
		}
		st.bytes += m.From.Size
	}
	return st, nil
}

func (t transfer) run(ctx context.Context, moves []storage.Move, parallel, perSecond int64, report spec.Report) error {
	p, err := storage.CopyAll(ctx, t.from, t.into, moves, storage.CopyOptions{
		Parallel: int(parallel), Limit: storage.NewLimit(perSecond << 20),
		Progress: func(p storage.Progress) { report.Progress(p.Bytes, p.TotalBytes, "bytes") },
	})
	detail := count(p.Files-p.Skipped, "file") + " copied"
	if p.Skipped > 0 {
		detail += fmt.Sprintf(", %d the same before", p.Skipped)
	}
	report.Detail("%s", detail)
	if err != nil && p.Files > p.Skipped && spec.KindOf(err) != spec.Interrupted {
		return &spec.Error{
			Kind: spec.PartlyDone, Op: fmt.Sprintf("%d of %s copied", p.Files, count(p.TotalFiles, "file")), Err: err, Hint: "run the line again to go on; " + spec.HintOf(err),
		}
	}
	return err
}

// count writes a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
