package shell

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"shardsh/commands/spec"
)

// history is the file of lines typed at the prompt: JSON lines, shared by all shells of the user.
type history struct {
	path  string
	limit int // how many entries are read, 0 for no history

	mu    sync.Mutex
	lines []string // for the terminal, oldest first
	size  int64    // of the file when lines was read
	off   bool     // a write failed: said once
}

type historyEntry struct {
	Time    time.Time `json:"time"`
	Cluster string    `json:"cluster,omitempty"`
	Code    int       `json:"code"`
	Line    string    `json:"line"`
}

func newHistory(dir string, limit int) *history {
	return &history{path: filepath.Join(dir, "history"), limit: limit}
}

// add appends a typed line. A leading blank keeps a line out; a line with a secret is stored without it.
func (h *history) add(s *Shell, text string, err error) {
	text = strings.TrimRight(text, "\n")
	if h.limit == 0 || text == "" || text[0] == ' ' || len(text) > 64<<10 {
		return
	}
	name, _ := s.session.where()
	entry := historyEntry{Time: time.Now().UTC(), Cluster: name, Code: ExitCode(err), Line: s.withoutSecrets(text)}
	if errors.Is(err, errExit) {
		entry.Code = 0
	}
	encoded, jerr := json.Marshal(entry)
	if jerr == nil {
		jerr = appendLine(h.path, encoded, false)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if jerr != nil && !h.off {
		h.off = true
		s.complain("", spec.Errorf(spec.Failed, "write the history: %w", jerr))
	}
}

// load answers the newest entries of the file, oldest first. Lines that are not JSON are skipped: another
// program may have been killed while it wrote one.
func (h *history) load() ([]historyEntry, error) {
	f, err := os.Open(h.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, spec.Errorf(spec.Failed, "read the history: %w", err)
	}
	defer f.Close()
	var all []historyEntry
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var e historyEntry
		if json.Unmarshal(scanner.Bytes(), &e) == nil && e.Line != "" {
			all = append(all, e)
		}
		if len(all) >= 2*h.limit+1000 {
			all = slices.Clone(all[len(all)-h.limit:])
		}
	}
	return all[max(0, len(all)-h.limit):], scanner.Err()
}

// recent answers the lines for the terminal: each once, the newest last. It reads the file again only when another
// shell or this one added to it.
func (h *history) recent() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	info, err := os.Stat(h.path)
	if err != nil || info.Size() == h.size {
		return h.lines
	}
	all, err := h.load()
	if err != nil {
		return h.lines
	}
	h.size = info.Size()
	seen := map[string]bool{}
	var lines []string
	for _, e := range slices.Backward(all) {
		if !seen[e.Line] && !strings.Contains(e.Line, "\n") {
			seen[e.Line] = true
			lines = append(lines, e.Line)
		}
	}
	slices.Reverse(lines)
	h.lines = lines
	return lines
}
