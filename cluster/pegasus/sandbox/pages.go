package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What Pegasus answers over HTTP is a table printed as JSON: every cell is a string, rows are objects under their names.

// page answers one path.
type page struct {
	help   string
	answer func(q query) reply
	// otherMethod, when set, answers what is not a GET.
	otherMethod reply
}

// query is what stands behind the question mark. A flag without a value is "".
type query map[string]string

// only says whether there is nothing but these arguments.
func (q query) only(names ...string) bool {
	for name := range q {
		if !slices.Contains(names, name) {
			return false
		}
	}
	return true
}

func (q query) has(name string) bool {
	_, ok := q[name]
	return ok
}

// appID reads the argument that names a table by its id.
func (q query) appID(name string) (int32, reply, bool) {
	text, given := q[name]
	if !given {
		return 0, failed(http.StatusBadRequest, "%s should not be empty", name), false
	}
	id, err := strconv.ParseInt(text, 10, 32)
	if err != nil || id < 0 {
		return 0, failed(http.StatusBadRequest, "invalid %s=%s", name, text), false
	}
	return int32(id), reply{}, true
}

// reply is what a page answers; the zero status is 200.
type reply struct {
	status   int
	body     string
	location string
}

func failed(status int, format string, args ...any) reply {
	return reply{status: status, body: fmt.Sprintf(format, args...)}
}

// pages is a server's HTTP side.
type pages func() map[string]page

func (p pages) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	out.Header().Set("Content-Type", "text/plain")
	a := p.find(r.Method, r.URL)
	if a.location != "" {
		out.Header().Set("Location", a.location)
	}
	if a.status != 0 {
		out.WriteHeader(a.status)
	}
	_, _ = out.Write([]byte(a.body))
}

func (p pages) find(method string, u *url.URL) reply {
	path := strings.Join(strings.FieldsFunc(u.Path, func(r rune) bool { return r == '/' }), "/")
	q, err := parseQuery(u.RawQuery)
	if err != nil {
		return failed(http.StatusBadRequest, "failed to parse request: %v", err)
	}
	found, ok := p()[path]
	if !ok {
		return failed(http.StatusNotFound, "service not found for %q", path)
	}
	if method != http.MethodGet && found.otherMethod.status != 0 {
		return found.otherMethod
	}
	return found.answer(q)
}

// parseQuery reads arguments as Pegasus does: each once, and the rest unescaped as a whole.
func parseQuery(raw string) (query, error) {
	text, err := url.PathUnescape(raw)
	if err != nil {
		return nil, err
	}
	q := query{}
	for part := range strings.SplitSeq(text, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		if q.has(name) {
			return nil, fmt.Errorf("ERR_INVALID_PARAMETERS: duplicate parameter: %s", name)
		}
		q[name] = value
	}
	return q, nil
}

// serverPages are what servers of both kinds tell of themselves.
type serverPages struct {
	started time.Time
	release release
	flags   []flag
}

// pages are those that servers of both kinds have.
func (s serverPages) pages() map[string]page {
	return map[string]page{
		"version": {help: "Get the server version.", answer: func(query) reply {
			return record("Version", s.release.version(), "GitCommit", notAStore)
		}},
		"recentStartTime": {help: "Get the server start time.", answer: func(query) reply {
			return record("RecentStartTime", s.started.Format(time.DateTime))
		}},
		"config": {help: "name=<config_name> - Get the details of a config.", answer: func(q query) reply {
			if !q.only("name") {
				return reply{status: http.StatusBadRequest}
			}
			f := s.flag(q["name"])
			if f == nil {
				return reply{body: "ERR_OBJECT_NOT_FOUND: " + q["name"] + " is not found"}
			}
			return record(f.pairs()...)
		}},
		"configs": {help: "List all configs.", answer: func(q query) reply {
			if len(q) > 0 {
				return reply{status: http.StatusBadRequest}
			}
			all := object{}
			for _, f := range s.flags {
				all.add(f.name, pairsOf(f.pairs()...))
			}
			return all.reply()
		}},
		"updateConfig": {help: "<key>=<value> - Update a config.", answer: func(q query) reply {
			return record("update_status", s.update(q))
		}},
	}
}

// help is the page without a path: what others there are.
func helpPage(all map[string]page) page {
	return page{help: "List all supported calls.", answer: func(query) reply {
		list := object{}
		for _, path := range slices.Sorted(maps.Keys(all)) {
			list.add("/"+path, all[path].help)
		}
		return list.reply()
	}}
}

// flag is a setting of a server as /config shows it.
type flag struct {
	name, section, kind, help string
	mutable                   bool
	setting                   *setting
	least                     int64
}

func (f *flag) pairs() []string {
	tags := ""
	if f.mutable {
		tags = "flag_tag::FT_MUTABLE"
	}
	return []string{
		"name", f.name, "section", f.section, "type", f.kind, "tags", tags, "description", f.help,
		"value", strconv.FormatInt(f.setting.get(), 10),
	}
}

func (s serverPages) flag(name string) *flag {
	if i := slices.IndexFunc(s.flags, func(f flag) bool { return f.name == name }); i >= 0 {
		return &s.flags[i]
	}
	return nil
}

// update sets a flag and answers in the words of Pegasus how that went.
func (s serverPages) update(q query) string {
	if len(q) != 1 {
		return "ERR_INVALID_PARAMETERS: there should be exactly one config to be updated once"
	}
	for name, text := range q {
		f := s.flag(name)
		switch {
		case f == nil:
			return "ERR_OBJECT_NOT_FOUND: " + name + " is not found"
		case !f.mutable:
			return "ERR_INVALID_PARAMETERS: " + name + " is not mutable"
		}
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < f.least {
			return "ERR_INVALID_PARAMETERS: " + text + " in invalid"
		}
		f.setting.value.Store(n)
	}
	return "ERR_OK"
}

// object is a JSON object whose keys keep their order.
type object struct {
	keys   []string
	values []any
}

func (o *object) add(key string, value any) {
	o.keys, o.values = append(o.keys, key), append(o.values, value)
}

// row adds an object made of names and cells.
func (o *object) row(name string, columns []string, cells ...any) {
	row := object{}
	for i, column := range columns {
		row.add(column, fmt.Sprint(cells[i]))
	}
	o.add(name, row)
}

func pairsOf(pairs ...string) object {
	o := object{}
	for i := 0; i+1 < len(pairs); i += 2 {
		o.add(pairs[i], pairs[i+1])
	}
	return o
}

// MarshalJSON writes the keys in their order.
func (o object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, key := range o.keys {
		if i > 0 {
			b = append(b, ',')
		}
		name, err := plainJSON(key)
		if err != nil {
			return nil, err
		}
		value, err := plainJSON(o.values[i])
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, name...), ':'), value...)
	}
	return append(b, '}'), nil
}

// reply answers the object as a table is printed, with a line's end.
func (o object) reply() reply {
	a := o.replyBare()
	a.body += "\n"
	return a
}

// plainJSON writes a value without the escapes that are meant for browsers.
func plainJSON(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(value)
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), err
}

func (o object) replyBare() reply {
	text, err := o.MarshalJSON()
	if err != nil {
		return failed(http.StatusInternalServerError, "%v", err)
	}
	return reply{body: string(text)}
}

func record(pairs ...string) reply { return pairsOf(pairs...).reply() }
