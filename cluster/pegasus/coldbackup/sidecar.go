package coldbackup

import (
	"context"
	"crypto/md5" // what Pegasus lists in its metadata
	"encoding/hex"
	"encoding/json"
	"errors"
	"path"
	"slices"
	"strings"
)

// SideCarFile is the file of a SideCar, in the backup's folder. Servers do not look at it.
const SideCarFile = "shardsh_backup"

// SideCar is what shardsh adds to a backup that has ended, because Pegasus protects its own documents by nothing and
// leaves the settings of the table out.
type SideCar struct {
	Version   int                          `json:"version"` // 1
	Documents []File                       `json:"documents"`
	Settings  map[string]map[string]string `json:"settings,omitempty"` // by TABLE_ID
	Sum       string                       `json:"sum"`                // MD5 of this JSON with a sum of ""
}

// NewSideCar makes that of a backup as it is now, with the settings of its tables.
func NewSideCar(b *Backup, settings map[string]map[string]string) *SideCar {
	c := &SideCar{Version: 1, Settings: settings}
	for _, d := range b.Documents {
		c.Documents = append(c.Documents, File{Name: strings.TrimPrefix(d.Path, b.Dir+"/"), Size: d.Size, MD5: d.MD5})
	}
	return c
}

// Encode makes its file.
func (c *SideCar) Encode() ([]byte, error) {
	unsigned := *c
	unsigned.Sum = ""
	b, err := json.Marshal(unsigned)
	if err != nil {
		return nil, err
	}
	unsigned.Sum = sum(b)
	return json.Marshal(unsigned)
}

// ParseSideCar reads one, and checks its own sum.
func ParseSideCar(b []byte) (*SideCar, error) {
	c, err := parse[SideCar](b)
	if err != nil {
		return nil, err
	}
	again, err := c.Encode()
	if err != nil || string(again) != string(b) {
		return nil, errors.New("it is not as it was written")
	}
	return c, nil
}

func (b *Backup) loadSideCar(ctx context.Context, s Store, entries []Entry) error {
	data, d, why, err := document(ctx, s, b.Dir, entries, SideCarFile, maxCheckpoint)
	if err != nil || errors.Is(why, errMissing) {
		return err
	}
	if why == nil {
		b.SideCar, why = ParseSideCar(data)
	}
	if why != nil {
		b.Problems = append(b.Problems, Problem{d.Path, why.Error()})
		return nil
	}
	for _, f := range b.SideCar.Documents {
		name := path.Join(b.Dir, f.Name)
		i := slices.IndexFunc(b.Documents, func(d Document) bool { return d.Path == name })
		if i >= 0 && (b.Documents[i].MD5 != f.MD5 || b.Documents[i].Size != f.Size) {
			b.Problems = append(b.Problems, Problem{name, "it is not what it was when the backup ended, says " + SideCarFile})
		}
		if i < 0 {
			b.Problems = append(b.Problems, Problem{name, "it was there when the backup ended, says " + SideCarFile})
		}
	}
	return nil
}

func sum(b []byte) string {
	s := md5.Sum(b)
	return hex.EncodeToString(s[:])
}
