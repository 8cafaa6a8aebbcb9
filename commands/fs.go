package commands

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"shardsh/commands/spec"
	"shardsh/storage"
)

// Locate reads argument i, SERVICE:PATH, and opens the service.
func Locate(ctx context.Context, env Env, call *spec.Call, i int) (storage.Service, storage.Location, error) {
	l, err := storage.ParseLocation(call.Arg(i))
	if err != nil {
		return nil, l, err
	}
	s, err := env.Block(ctx, l.Service)
	return s, l, err
}

func locationArg(name, help string) spec.Arg {
	return spec.Arg{Name: name, Kind: spec.ArgLocation, Help: help}
}

// putSetup lines make what examples look at.
var putSetup = []string{"ls --output json > rows.json", "fs put rows.json disk:/exports/rows.json"}

var entryColumns = []spec.Column{
	{Name: "path"},
	{Name: "type"},
	{Name: "size", Kind: spec.Size},
	{Name: "modified", Kind: spec.Time},
	{Name: "md5"},
}

func entryRow(e storage.Entry) spec.Row {
	if e.Dir {
		return spec.Row{e.Path + "/", "directory", nil, timeCell(e), nil}
	}
	return spec.Row{e.Path, "file", e.Size, timeCell(e), Word(e.MD5)}
}

func timeCell(e storage.Entry) any {
	if e.Modified.IsZero() {
		return nil
	}
	return e.Modified
}

// FSLs lists a directory of a block service.
func FSLs(env Env) spec.Command {
	return spec.Command{
		Name: "fs ls", Topic: "storage", Offline: true,
		Summary: "list a directory of a block service",
		Long: "One row per file and directory, by name. md5 is what the service tells of it: a local_service keeps it beside the file, an S3 tells it of what came " +
			"in one piece, an HDFS never.",
		Args:  []spec.Arg{locationArg("place", "SERVICE:PATH")},
		Flags: []spec.Flag{{Name: "recursive", Short: "R", Kind: spec.ArgBool, Help: "all files below it"}},
		Examples: []spec.Example{
			{Line: "fs ls disk:/", Says: "the root of the service disk"},
			{Line: "fs ls -R disk:/exports", Says: "every file below a directory", Setup: putSetup},
		},
		SeeAlso: []string{"fs stat", "fs cat", "block_services"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			s, l, err := Locate(ctx, env, call, 0)
			if err != nil {
				return nil, err
			}
			seq := s.List(ctx, l.Path)
			if call.Bool("recursive") {
				seq = storage.Walk(ctx, s, l.Path)
			}
			return &spec.Table{Columns: entryColumns, Rows: func(yield func(spec.Row, error) bool) {
				for e, err := range seq {
					if err != nil {
						yield(nil, err)
						return
					}
					if !yield(entryRow(e), nil) {
						return
					}
				}
			}}, nil
		},
	}
}

// FSStat describes a file or directory of a block service.
func FSStat(env Env) spec.Command {
	return spec.Command{
		Name: "fs stat", Topic: "storage", Offline: true,
		Summary:  "describe a file or directory of a block service",
		Long:     "What the service tells without reading the file. With --sum the MD5 is made by reading it where the service tells none.",
		Args:     []spec.Arg{locationArg("place", "SERVICE:PATH")},
		Flags:    []spec.Flag{{Name: "sum", Kind: spec.ArgBool, Help: "read the file for its MD5 when the service does not tell it"}},
		Examples: []spec.Example{{Line: "fs stat disk:/exports/rows.json", Says: "its size, time and MD5", Setup: putSetup}},
		SeeAlso:  []string{"fs ls", "fs cat"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			s, l, err := Locate(ctx, env, call, 0)
			if err != nil {
				return nil, err
			}
			e, err := s.Stat(ctx, l.Path)
			if err == nil && !e.Dir && call.Bool("sum") {
				e.MD5, err = storage.Sum(ctx, s, e)
			}
			if err != nil {
				return nil, err
			}
			return spec.Record(entryColumns, entryRow(e)...), nil
		},
	}
}

// catLimit is how much of a file is shown unless more is asked for.
const catLimit = 1 << 20

// FSCat shows what a file of a block service holds.
func FSCat(env Env) spec.Command {
	return spec.Command{
		Name: "fs cat", Topic: "storage", Offline: true,
		Summary: "show what a file of a block service holds",
		Long: "One row per line of a file, bytes that are no text as \\xHH. Of a larger file than --limit only the beginning is shown, and that is said. " +
			"fs get brings the file itself.",
		Args: []spec.Arg{locationArg("file", "SERVICE:PATH")},
		Flags: []spec.Flag{
			{Name: "offset", Kind: spec.ArgInt, Default: "0", Help: "begin at this byte"},
			{Name: "limit", Kind: spec.ArgInt, Default: fmt.Sprint(catLimit), Help: "show so many bytes at most"},
		},
		Examples: []spec.Example{{Line: "fs cat disk:/exports/rows.json --limit 100", Says: "its first 100 bytes", Setup: putSetup}},
		SeeAlso:  []string{"fs get", "fs stat"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return cat(ctx, env, call)
		},
	}
}

func cat(ctx context.Context, env Env, call *spec.Call) (*spec.Table, error) {
	offset, limit := call.Int("offset"), call.Int("limit")
	const most = 64 << 20
	if offset < 0 || limit <= 0 || limit > most {
		return nil, spec.Errorf(spec.Usage, "--offset must not be negative, and --limit must be between 1 and %d", most)
	}
	s, l, err := Locate(ctx, env, call, 0)
	if err != nil {
		return nil, err
	}
	e, err := s.Stat(ctx, l.Path)
	if err != nil {
		return nil, err
	}
	r, err := s.Open(ctx, l.Path, offset, limit)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, limit))
	if err != nil {
		return nil, err
	}
	var rows []spec.Row
	for line := range bytes.Lines(data) {
		rows = append(rows, spec.Row{bytes.TrimSuffix(line, []byte("\n"))})
	}
	t := &spec.Table{Columns: []spec.Column{{Name: "line", Kind: spec.Bytes}}, Rows: spec.RowsOf(rows...), Lines: true}
	if shown := int64(len(data)); offset+shown < e.Size {
		t.Notes = func() []string {
			return []string{fmt.Sprintf("%d bytes from byte %d on, of %d: fs get brings all of it", shown, offset, e.Size)}
		}
	}
	return t, nil
}
