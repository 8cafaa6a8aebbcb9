package pegasus

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// The answer at /metrics: entities with attributes, and metrics of each. It is read as it comes, so that it costs no more
// than what is kept of it.

// metricsPage is a whole answer.
type metricsPage struct {
	At       time.Time // by the server's clock
	Entities []metricEntity
}

type metricEntity struct {
	Type, ID   string
	Attributes map[string]string
	Metrics    []metric
}

// metric has one value, or percentiles by their names.
type metric struct {
	Name, Type  string
	Value       *float64
	Percentiles map[string]float64
}

// Bounds of what is kept of one answer.
const (
	maxAttributes = 16
	maxMetrics    = 1 << 18 // in all
	maxMetricText = 256
	maxSkipDepth  = 32
)

var errMetrics = errors.New("not an answer to /metrics")

// percentileNames are those that servers compute.
var percentileNames = []string{"p50", "p90", "p95", "p99", "p999"}

// readMetrics reads an answer.
func readMetrics(r io.Reader) (*metricsPage, error) {
	m := metricsReader{dec: json.NewDecoder(fullReader{r}), page: &metricsPage{}}
	err := m.object(func(key string) error {
		switch key {
		case "timestamp_ns":
			var at int64
			if err := m.dec.Decode(&at); err != nil {
				return err
			}
			m.page.At = time.Unix(0, at)
			return nil
		case "entities":
			return m.array(m.entity)
		}
		return m.skip()
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMetrics, err)
	}
	return m.page, nil
}

type metricsReader struct {
	dec  *json.Decoder
	page *metricsPage
	kept int
}

// open reads the beginning of an object or array.
func (m *metricsReader) open(want json.Delim) error {
	token, err := m.dec.Token()
	if err != nil {
		return err
	}
	if token != want {
		return fmt.Errorf("%.40v in place of %v", token, want)
	}
	return nil
}

// object reads an object, member by member; each must read its value.
func (m *metricsReader) object(member func(key string) error) error {
	if err := m.open('{'); err != nil {
		return err
	}
	for m.dec.More() {
		token, err := m.dec.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string)
		if err := member(key); err != nil {
			return err
		}
	}
	_, err := m.dec.Token()
	return err
}

func (m *metricsReader) array(element func() error) error {
	if err := m.open('['); err != nil {
		return err
	}
	for m.dec.More() {
		if err := element(); err != nil {
			return err
		}
	}
	_, err := m.dec.Token()
	return err
}

// skip passes over a value of any kind.
func (m *metricsReader) skip() error {
	for depth := 0; ; {
		token, err := m.dec.Token()
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		switch {
		case depth == 0:
			return nil
		case depth > maxSkipDepth:
			return fmt.Errorf("nested deeper than %d", maxSkipDepth)
		}
	}
}

func (m *metricsReader) text() (string, error) {
	token, err := m.dec.Token()
	if err != nil {
		return "", err
	}
	text, ok := token.(string)
	if !ok || len(text) > maxMetricText {
		return "", fmt.Errorf("%.40v is no name", token)
	}
	return strings.Clone(text), nil
}

func (m *metricsReader) number() (float64, error) {
	token, err := m.dec.Token()
	if err != nil {
		return 0, err
	}
	value, ok := token.(float64)
	if !ok {
		return 0, fmt.Errorf("%.40v is no number", token)
	}
	return value, nil
}

func (m *metricsReader) entity() error {
	e := metricEntity{}
	err := m.object(func(key string) (err error) {
		switch key {
		case "type":
			e.Type, err = m.text()
		case "id":
			e.ID, err = m.text()
		case "attributes":
			err = m.attributes(&e)
		case "metrics":
			err = m.array(func() error { return m.metric(&e) })
		default:
			err = m.skip()
		}
		return err
	})
	m.page.Entities = append(m.page.Entities, e)
	return m.keep(err)
}

// keep counts one more of what is kept, unless it could not be read.
func (m *metricsReader) keep(err error) error {
	if m.kept++; err == nil && m.kept > maxMetrics {
		return fmt.Errorf("more than %d metrics", maxMetrics)
	}
	return err
}

func (m *metricsReader) attributes(e *metricEntity) error {
	e.Attributes = map[string]string{}
	return m.object(func(key string) error {
		value, err := m.text()
		if err != nil {
			return err
		}
		if len(e.Attributes) >= maxAttributes || len(key) > maxMetricText {
			return fmt.Errorf("more than %d attributes, or a long one", maxAttributes)
		}
		e.Attributes[key] = value
		return nil
	})
}

func (m *metricsReader) metric(e *metricEntity) error {
	one := metric{}
	err := m.object(func(key string) (err error) {
		switch key {
		case "name":
			one.Name, err = m.text()
		case "type":
			one.Type, err = m.text()
		case "value":
			var value float64
			value, err = m.number()
			one.Value = &value
		case percentileNames[0], percentileNames[1], percentileNames[2], percentileNames[3], percentileNames[4]:
			if one.Percentiles == nil {
				one.Percentiles = map[string]float64{}
			}
			one.Percentiles[key], err = m.number()
		default:
			err = m.skip()
		}
		return err
	})
	e.Metrics = append(e.Metrics, one)
	return m.keep(err)
}
