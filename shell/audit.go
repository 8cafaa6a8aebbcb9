package shell

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"sync"
	"time"

	"shardsh/commands/spec"
)

// auditLog is a file of JSON lines: an intent before each change and a result after it. The intent of an administrative
// change is on disk before anything is sent; if it cannot be written the change is refused. Row writes are recorded
// without values, and buffered.
type auditLog struct {
	path string
	hide func(string) string // takes secrets out of a record

	mu     sync.Mutex
	file   *os.File
	buffer *bufio.Writer
	last   uint64
}

// auditRecord is one line of the log.
type auditRecord struct {
	Time    time.Time `json:"time"`
	ID      string    `json:"id"` // joins intent and result
	Phase   string    `json:"phase"`
	User    string    `json:"user"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Mode    string    `json:"mode"`
	Cluster string    `json:"cluster"`
	Table   string    `json:"table,omitempty"`
	Line    string    `json:"line"`
	Title   string    `json:"plan,omitempty"`
	Class   string    `json:"class"`
	Digest  string    `json:"digest,omitempty"`
	Objects []string  `json:"objects,omitempty"`
	Answer  string    `json:"answer,omitempty"`
	Status  string    `json:"status,omitempty"`
	Code    *int      `json:"code,omitempty"`
	Changed *int      `json:"changed,omitempty"` // steps that took effect
	Error   string    `json:"error,omitempty"`
	Seconds *float64  `json:"seconds,omitempty"`
}

// auditEntry is a change between its intent and its result.
type auditEntry struct {
	log    *auditLog
	record auditRecord
	rows   bool
}

func newAuditLog(dir string, hide func(string) string) *auditLog {
	return &auditLog{path: filepath.Join(dir, "audit.jsonl"), hide: hide}
}

// audited reports whether changes of the current cluster are recorded.
func (s *Shell) audited() bool {
	if own := s.session.target().settings["audit"]; own != "" {
		return own == "true"
	}
	return s.option("audit").Bool()
}

// begin records what is about to be done.
func (a *auditLog) begin(s *Shell, call *spec.Call, p *spec.Plan, how string) (*auditEntry, error) {
	if !s.audited() || p.Class() == spec.Read {
		return nil, nil
	}
	e := &auditEntry{log: a, rows: rowsOnly(p), record: auditRecord{
		Time: time.Now().UTC(), Phase: "intent", User: userName(), PID: os.Getpid(), Mode: s.mode,
		Cluster: call.Cluster, Table: call.Table, Line: call.Line, Title: p.Title, Class: p.Class().String(),
		Digest: digest(call, p), Objects: p.Objects(), Answer: how,
	}}
	e.record.Host, _ = os.Hostname()
	if e.rows { // the line holds values
		e.record.Line, e.record.Title, e.record.Digest = call.Command.Name, "", ""
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	e.record.ID = fmt.Sprintf("%d-%d-%d", e.record.Time.UnixNano(), e.record.PID, a.last)
	if err := a.write(e.record, !e.rows); err != nil {
		return nil, &spec.Error{
			Kind: spec.Refused, Op: "write the audit log " + a.path, Err: err,
			Hint: "a change that cannot be recorded is not made; set audit = off in config.ini to do without",
		}
	}
	return e, nil
}

// end records how it went.
func (e *auditEntry) end(err error, changed int) error {
	if e == nil {
		return nil
	}
	return e.result(err, changed, "done")
}

// handOn records that another process makes the change, which it records, too.
func (e *auditEntry) handOn(err error, to string) error {
	if e == nil {
		return nil
	}
	return e.result(err, 0, to)
}

func (e *auditEntry) result(err error, changed int, status string) error {
	r := e.record
	took := time.Since(r.Time).Seconds()
	code := ExitCode(err)
	r.Time, r.Phase, r.Seconds, r.Code, r.Changed, r.Status = time.Now().UTC(), "result", &took, &code, &changed, status
	if err != nil {
		r.Status, r.Error = spec.KindOf(err).String(), err.Error()
	}
	e.log.mu.Lock()
	defer e.log.mu.Unlock()
	if werr := e.log.write(r, !e.rows); werr != nil {
		return &spec.Error{Kind: spec.Failed, Op: "write the audit log " + e.log.path, Err: werr, Hint: "the change itself was made"}
	}
	return nil
}

// write appends one record; the caller holds mu.
func (a *auditLog) write(r auditRecord, sync bool) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	text = []byte(a.hide(string(text)))
	if a.file == nil {
		if err := os.MkdirAll(filepath.Dir(a.path), 0o700); err != nil {
			return err
		}
		f, err := os.OpenFile(a.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		a.file, a.buffer = f, bufio.NewWriterSize(f, 64<<10)
	}
	if a.buffer.Available() < len(text)+1 { // whole lines only, so that several shells may share the file
		if err := a.buffer.Flush(); err != nil {
			return err
		}
	}
	if _, err := a.buffer.Write(append(text, '\n')); err != nil {
		return err
	}
	if !sync {
		return nil
	}
	if err := a.buffer.Flush(); err != nil {
		return err
	}
	return a.file.Sync()
}

// close writes what is buffered.
func (a *auditLog) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		return nil
	}
	err := errors.Join(a.buffer.Flush(), a.file.Close())
	a.file = nil
	return err
}

func rowsOnly(p *spec.Plan) bool {
	for _, st := range p.Steps {
		if !st.Rows {
			return false
		}
	}
	return len(p.Holds) == 0
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return os.Getenv("USER")
}
