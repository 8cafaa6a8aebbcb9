package shell

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"shardsh/commands/spec"
)

// stateDir is where history, audit and holds live: what config.ini says, else $XDG_STATE_HOME/shardsh. It is made 0700.
func stateDir(configured string, getenv func(string) string) (string, error) {
	if configured != "" {
		return configured, nil
	}
	base := getenv("XDG_STATE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", &spec.Error{
				Kind: spec.Failed, Op: "find the state directory", Err: err, Hint: "set XDG_STATE_HOME or HOME",
			}
		}
		base = filepath.Join(home, ".local", "state")
		if runtime.GOOS == "windows" {
			base = filepath.Join(home, "AppData", "Local")
		}
	}
	return filepath.Join(base, "shardsh"), nil
}

// appendLine adds one line to a file only its owner can read, in a single write, so that several shells may share it.
func appendLine(path string, text []byte, sync bool) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err == nil && sync {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// writeDurably puts a file in place so that it is whole or absent after a crash, and on disk when it returns.
func writeDurably(path string, text []byte) error { return writeWhole(path, text, true) }

// writeWhole puts a file in place so that whoever reads it sees it whole; durable makes it writeDurably.
func writeWhole(path string, text []byte, durable bool) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err = f.Write(text); err == nil && durable {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if !durable {
		return nil
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be opened for syncing there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
