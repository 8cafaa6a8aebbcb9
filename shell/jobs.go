package shell

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"shardsh/commands/spec"
)

// States of a job, as they are shown. A job whose folder says running and whose lock is free was killed: interrupted.
const (
	jobRunning     = "running"
	jobDone        = "done"
	jobFailed      = "failed"
	jobCancelled   = "cancelled"
	jobInterrupted = "interrupted"
)

// jobs is the folder $STATE/jobs. Each job has a folder in it, named by its id:
//
//	spec.json    what was asked for; does not change but for the identities, which are added
//	status.json  how it goes
//	NAME.journal what to go on from, one for each job of the plan
//	lock         held by the process that runs it
//	ctl.sock     answered by that process
//	log          what it said in the background
type jobs struct {
	dir string

	mu      sync.Mutex    // an abandoned command may still be ending
	started []*startedJob // in the background, by this shell
}

// jobSpec is the content of spec.json.
type jobSpec struct {
	Version int       `json:"version"`
	Created time.Time `json:"created"`
	User    string    `json:"user"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Program string    `json:"program"` // its version
	// Line as typed, in words, and where the shell looked.
	Line    string              `json:"line"`
	Words   []string            `json:"words"`
	Command string              `json:"command"`
	Args    []string            `json:"args,omitempty"`
	Flags   map[string][]string `json:"flags,omitempty"`
	Cluster string              `json:"cluster,omitempty"`
	Table   string              `json:"table,omitempty"`
	Node    string              `json:"node,omitempty"`
	Dir     string              `json:"dir,omitempty"` // the working directory
	Wait    time.Duration       `json:"wait_ns"`       // as spec.Call has it
	Force   bool                `json:"force"`
	// Title of the plan, its class, how it was confirmed, and what blocked it and was accepted with --force.
	Title   string   `json:"title"`
	Class   string   `json:"class"`
	Answer  string   `json:"answer,omitempty"`
	Accepts []string `json:"accepts,omitempty"`
	// Clusters that were opened for it, by the names on the line.
	Clusters map[string]jobCluster `json:"clusters,omitempty"`
	// Blocks are the block services of the shell's own sandbox that were opened for it, and where they are.
	Blocks map[string]string `json:"blocks,omitempty"`
	// Identities of its jobs by their names.
	Identities map[string]map[string]string `json:"identities,omitempty"`
}

// jobCluster is where a name led.
type jobCluster struct {
	System  string `json:"system"`
	Address string `json:"address"`
	// Sandbox is the shell whose own sandbox it is, and which it does not outlive; 0 for others.
	Sandbox int `json:"sandbox,omitempty"`
}

const jobVersion = 1

// jobStatus is the content of status.json.
type jobStatus struct {
	State      string    `json:"state"`
	PID        int       `json:"pid"`
	Host       string    `json:"host"`
	Background bool      `json:"background,omitempty"`
	Runs       int       `json:"runs"`
	Started    time.Time `json:"started"` // of this run
	Updated    time.Time `json:"updated"`
	Busy       float64   `json:"seconds"` // of all runs
	// Name is the running job of the plan, Finished those that are done, Saves how often each was saved.
	Name     string           `json:"name,omitempty"`
	Finished []string         `json:"finished,omitempty"`
	Saves    map[string]int64 `json:"saves,omitempty"`
	Figures  spec.Figures     `json:"figures"`
	Detail   string           `json:"detail,omitempty"`
	// Rate was set by `job rate`; nil leaves it to the command.
	Rate *spec.Rate `json:"rate,omitempty"`
	Now  speed      `json:"now"`
	// Cancelled is who asked it to end.
	Cancelled string `json:"cancelled_by,omitempty"`
	Code      int    `json:"code"`
	Error     string `json:"error,omitempty"`
}

// jobFolder is the folder of one job.
type jobFolder struct{ dir string }

func (f jobFolder) id() string               { return filepath.Base(f.dir) }
func (f jobFolder) path(name string) string  { return filepath.Join(f.dir, name) }
func (f jobFolder) journal(n string) journal { return journal{f.path(n + ".journal")} }

// jobID is what an id may be; a folder that came from elsewhere may have been renamed.
var jobID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,40}$`)

// create makes the folder of a new job, and holds it: j1, j2, … in the order of their beginning. No number is given twice.
func (j *jobs) create(s *jobSpec) (f jobFolder, held *flock.Flock, err error) {
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return f, nil, err
	}
	lock := flock.New(filepath.Join(j.dir, ".lock"))
	if err := lock.Lock(); err != nil {
		return f, nil, err
	}
	defer lock.Unlock()
	last, err := j.lastNumber()
	if err != nil {
		return f, nil, err
	}
	f.dir = filepath.Join(j.dir, "j"+strconv.Itoa(last+1))
	if err := writeDurably(filepath.Join(j.dir, ".last"), []byte(strconv.Itoa(last+1)+"\n")); err != nil {
		return f, nil, err
	}
	if err := os.Mkdir(f.dir, 0o700); err != nil {
		return f, nil, err
	}
	// It is held before it says what it is, so that nobody takes it for one that was killed.
	if held, err = f.lock(); err != nil {
		return f, nil, err
	}
	s.Created = time.Now().UTC() // under the lock, so that the order is that of the numbers
	if err = f.put("spec.json", s, true); err == nil {
		err = syncDir(j.dir)
	}
	if err != nil {
		return f, nil, errors.Join(err, held.Unlock())
	}
	return f, held, nil
}

func (j *jobs) lastNumber() (int, error) {
	last := 0
	if text, err := os.ReadFile(filepath.Join(j.dir, ".last")); err == nil {
		last, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	entries, err := os.ReadDir(j.dir)
	for _, e := range entries {
		if n, err := strconv.Atoi(strings.TrimPrefix(e.Name(), "j")); err == nil {
			last = max(last, n)
		}
	}
	return last, err
}

func (f jobFolder) put(name string, content any, durable bool) error {
	text, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return err
	}
	return writeWhole(f.path(name), append(text, '\n'), durable)
}

func (f jobFolder) get(name string, content any) error {
	text, err := os.ReadFile(f.path(name))
	if err == nil {
		err = json.Unmarshal(text, content)
	}
	if err != nil {
		return &spec.Error{Kind: spec.Failed, Op: "read " + f.path(name), Err: err}
	}
	return nil
}

// lock takes the lock of a job, which is held until it is closed or the process ends.
func (f jobFolder) lock() (*flock.Flock, error) {
	lock := flock.New(f.path("lock"))
	for {
		free, err := lock.TryLock()
		if err != nil {
			return nil, err
		}
		if free {
			return lock, nil
		}
		running, err := f.locked()
		if err == nil && running {
			err = spec.Errorf(spec.Refused, "job %s is running", f.id()).WithHint("job show %s tells where; job cancel %s ends it", f.id(), f.id())
		}
		if err != nil {
			return nil, err
		}
		time.Sleep(time.Millisecond) // somebody looked just then
	}
}

// locked reports whether a process runs the job. It shares the lock for a moment, which keeps nobody from looking, too.
func (f jobFolder) locked() (bool, error) {
	lock := flock.New(f.path("lock"))
	free, err := lock.TryRLock()
	if err != nil {
		return false, spec.Errorf(spec.Failed, "look whether job %s runs: %w", f.id(), err)
	}
	return !free, lock.Close()
}

// found is a job as its folder tells.
type foundJob struct {
	jobFolder
	spec   jobSpec
	status jobStatus
	alive  bool       // its lock is held
	limit  *spec.Rate // what it keeps to, where it has told
}

// find answers one job.
func (j *jobs) find(id string) (foundJob, error) {
	f := foundJob{jobFolder: jobFolder{filepath.Join(j.dir, id)}}
	if _, err := os.Stat(f.dir); err != nil || !jobID.MatchString(id) {
		return f, spec.Errorf(spec.NotFound, "no job is called %q", id).WithHint("jobs --all lists them")
	}
	return f, f.read()
}

func (f *foundJob) read() error {
	if err := f.get("spec.json", &f.spec); err != nil {
		return err
	}
	if f.spec.Version != jobVersion {
		return spec.Errorf(spec.Failed, "job %s is of version %d, and this program reads %d", f.id(), f.spec.Version, jobVersion)
	}
	// Looked at in this order, one that ends meanwhile is not taken for one that was killed.
	alive, err := f.locked()
	if err != nil {
		return err
	}
	f.status = jobStatus{}
	err = f.get("status.json", &f.status)
	if errors.Is(err, os.ErrNotExist) { // it is about to begin, or was killed there
		f.status, err = jobStatus{State: jobRunning, PID: f.spec.PID, Host: f.spec.Host, Started: f.spec.Created, Updated: f.spec.Created}, nil
	}
	if err == nil && f.status.State == jobRunning && !alive { // one that began meanwhile is not taken for one either
		if alive, err = f.locked(); !alive {
			f.status.State = jobInterrupted
		}
	}
	f.alive = alive
	return err
}

// list answers all jobs in the order of their beginning. A folder that cannot be read is told of, and passed over.
func (j *jobs) list() (all []foundJob, broken []error) {
	entries, err := os.ReadDir(j.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, []error{err}
	}
	for _, e := range entries {
		if !e.IsDir() || !jobID.MatchString(e.Name()) {
			continue
		}
		f, err := j.find(e.Name())
		switch {
		case err == nil:
			all = append(all, f)
		case !errors.Is(err, os.ErrNotExist):
			broken = append(broken, err)
		}
	}
	slices.SortFunc(all, func(a, b foundJob) int {
		return cmp.Or(a.spec.Created.Compare(b.spec.Created), cmp.Compare(a.id(), b.id()))
	})
	return all, broken
}

// ids lists the ids of all jobs, the latest first, without a look into their folders.
func (j *jobs) ids() []string {
	entries, _ := os.ReadDir(j.dir)
	var ids []string
	for _, e := range entries {
		if e.IsDir() && jobID.MatchString(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	slices.SortFunc(ids, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(b, a)) })
	return ids
}

// keptJobs is how many finished jobs are kept.
const keptJobs = 50

// prune removes the oldest of those that are done.
func (j *jobs) prune() {
	all, _ := j.list()
	all = slices.DeleteFunc(all, func(f foundJob) bool { return f.alive || f.status.State != jobDone })
	for _, f := range all[:max(0, len(all)-keptJobs)] {
		_ = f.remove() // it is tried again by the next one
	}
}

// remove takes the folder of a job away, unless it runs.
func (f jobFolder) remove() error {
	lock, err := f.lock()
	if err != nil {
		return err
	}
	defer lock.Unlock()
	return os.RemoveAll(f.dir)
}

// identityDiffers names what a job was recorded with that is not so any more, "" when all is.
func identityDiffers(was, is map[string]string) string {
	var all []string
	for key, value := range was {
		if now, ok := is[key]; !ok || now != value {
			all = append(all, fmt.Sprintf("%s was %q and is %q", key, value, now))
		}
	}
	for key, value := range is {
		if _, ok := was[key]; !ok {
			all = append(all, fmt.Sprintf("%s was not there and is %q", key, value))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}
