package sandbox

import (
	"fmt"
	"strings"

	"shardsh/commands/spec"
)

// release is the Pegasus release that a cluster speaks like.
type release int

const (
	release25 release = iota // 2.5.0, the newest that is released: what the sandbox is when nobody asks for another
	release26                // 2.6.0, not released yet
)

var releaseNames = [...]string{"2.5", "2.6"}

// notAStore stands where Pegasus says from which commit it was built.
const notAStore = "shardsh sandbox, not a store"

// version is what servers answer for one.
func (r release) version() string {
	if r == release26 {
		return "2.6.0-SNAPSHOT"
	}
	return "2.5.0"
}

// parseRelease reads the release of a configuration; "" is the default.
func parseRelease(text string) (release, error) {
	if text == "" {
		return release25, nil
	}
	for i, name := range releaseNames {
		if text == name {
			return release(i), nil
		}
	}
	return 0, spec.Errorf(spec.Usage, "the sandbox is no Pegasus %s", fmt.Sprintf("%q", text)).
		WithHint("releases: %s", strings.Join(releaseNames[:], ", "))
}
