package shell

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"shardsh/commands/spec"
)

// jobRequest is one line to a running job's control socket. It is answered by one line, a jobAnswer.
type jobRequest struct {
	Op   string     `json:"op"` // "show", "rate" or "cancel"
	Rate *spec.Rate `json:"rate,omitempty"`
	By   string     `json:"by,omitempty"` // who cancels
}

type jobAnswer struct {
	Status jobStatus `json:"status"`
	Rate   spec.Rate `json:"rate"` // that it keeps to
	Step   spec.Rate `json:"step"` // by which keys change it, see spec.Job
	Error  string    `json:"error,omitempty"`
}

const (
	// jobPatience bounds an exchange with a running job.
	jobPatience = 5 * time.Second
	// jobRequestLimit bounds what is read of a request, jobAnswerLimit what is read of an answer.
	jobRequestLimit = 64 << 10
	jobAnswerLimit  = 4 << 20
	// socketPathLimit is how long a socket's path may be everywhere (sun_path has 104 bytes on BSD, 108 on Linux).
	socketPathLimit = 100
)

// jobControl answers at a job's socket.
type jobControl struct {
	run      *jobRun
	listener net.Listener
	tidy     func()
	gone     chan struct{}
}

// listen opens the control socket of a job, in its folder, which only its owner can enter. Where that path is too long
// for a socket, it is in a private temporary directory, and ctl.path says where.
func (r *jobRun) listen() (*jobControl, error) {
	path, tidy := r.folder.path("ctl.sock"), func() {}
	_ = os.Remove(path) // a killed process leaves its own; the lock says that it is gone
	_ = os.Remove(r.folder.path("ctl.path"))
	if len(path) > socketPathLimit {
		dir, err := os.MkdirTemp("", "shardsh-job-*") // 0700
		if err != nil {
			return nil, err
		}
		path = filepath.Join(dir, "ctl.sock")
		tidy = func() { _ = errors.Join(os.Remove(r.folder.path("ctl.path")), os.RemoveAll(dir)) }
		if err := writeDurably(r.folder.path("ctl.path"), []byte(path+"\n")); err != nil {
			tidy()
			return nil, err
		}
	}
	listener, err := net.Listen("unix", path)
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		tidy()
		return nil, err
	}
	c := &jobControl{run: r, listener: listener, tidy: tidy, gone: make(chan struct{})}
	go c.serve()
	return c, nil
}

func (c *jobControl) serve() {
	defer close(c.gone)
	for {
		conn, err := c.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			go c.answer(conn)
		}
	}
}

func (c *jobControl) answer(conn net.Conn) {
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(jobPatience)) != nil {
		return
	}
	var request jobRequest
	text, err := bufio.NewReader(io.LimitReader(conn, jobRequestLimit)).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(text, &request)
	}
	var a jobAnswer
	if err == nil {
		a, err = c.run.obey(request)
	}
	if err != nil {
		a.Error = err.Error()
	}
	_ = json.NewEncoder(conn).Encode(a) // whoever asked may be gone
}

func (c *jobControl) close() {
	if c == nil {
		return
	}
	_ = c.listener.Close() // it unlinks the socket
	<-c.gone
	c.tidy()
}

// obey does what was asked at the socket.
func (r *jobRun) obey(request jobRequest) (jobAnswer, error) {
	switch request.Op {
	case "show":
	case "rate":
		if request.Rate == nil || request.Rate.Rows < 0 || request.Rate.Bytes < 0 {
			return jobAnswer{}, errors.New("no rate is given")
		}
		r.mu.Lock()
		r.rate, r.status.Rate = *request.Rate, request.Rate
		r.mu.Unlock()
		if err := r.keep(true); err != nil {
			return jobAnswer{}, err
		}
	case "cancel":
		r.mu.Lock()
		r.stopped, r.status.Cancelled = &cancelled{request.By}, request.By
		if r.cancel != nil {
			r.cancel(*r.stopped)
		}
		r.mu.Unlock()
	default:
		return jobAnswer{}, errors.New("a job does not know how to " + request.Op)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.status.Updated, r.status.Now = now.UTC(), r.meter.now(now)
	a := jobAnswer{Status: r.status, Rate: r.rate, Step: r.step}
	a.Status.Finished, a.Status.Saves = slices.Clone(a.Status.Finished), maps.Clone(a.Status.Saves)
	a.Status.Busy = r.before + now.Sub(r.status.Started).Seconds()
	return a, nil
}

// ask sends one request to the process that runs a job.
func (f jobFolder) ask(ctx context.Context, request jobRequest) (jobAnswer, error) {
	var a jobAnswer
	path := f.path("ctl.sock")
	if text, err := os.ReadFile(f.path("ctl.path")); err == nil {
		path = strings.TrimSpace(string(text))
	}
	fail := func(err error) (jobAnswer, error) {
		return a, &spec.Error{
			Kind: spec.Unavailable, Op: request.Op + " job " + f.id(), Endpoint: path, Err: err,
			Hint: "job show " + f.id() + " tells on which host it runs",
		}
	}
	ctx, cancel := context.WithTimeout(ctx, jobPatience)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return fail(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	if err := json.NewEncoder(conn).Encode(request); err != nil {
		return fail(err)
	}
	if err := json.NewDecoder(io.LimitReader(conn, jobAnswerLimit)).Decode(&a); err != nil {
		return fail(err)
	}
	if a.Error != "" {
		return a, spec.Errorf(spec.Failed, "%s job %s: %s", request.Op, f.id(), a.Error)
	}
	return a, nil
}
