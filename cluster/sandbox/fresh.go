package sandbox

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// freshPattern names the directories of sandboxes that keep nothing.
const freshPattern = "shardsh-sandbox-*"

// freshDir makes an empty directory that is held while the process lives, and clears away those whose process was
// killed before it could.
func freshDir() (dir string, remove func() error, err error) {
	sweep()
	for range 10 { // another sandbox may sweep the directory away between its making and its locking
		if dir, err = os.MkdirTemp("", freshPattern); err != nil {
			return "", nil, err
		}
		lock := flock.New(filepath.Join(dir, "lock"))
		held, lockErr := lock.TryLock()
		if held && lockErr == nil {
			return dir, func() error { return errors.Join(os.RemoveAll(dir), lock.Close()) }, nil
		}
		err = errors.Join(lockErr, lock.Close())
	}
	return "", nil, errors.Join(errors.New("no fresh directory stayed"), err)
}

func sweep() {
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), freshPattern))
	for _, dir := range left {
		name := filepath.Join(dir, "lock")
		if _, err := os.Stat(name); err != nil {
			continue
		}
		lock := flock.New(name)
		if held, err := lock.TryLock(); held && err == nil {
			_ = os.RemoveAll(dir)
		}
		_ = lock.Close()
	}
}
