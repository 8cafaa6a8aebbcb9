//go:build !unix

package sandbox

import "os"

// wake does nothing where processes cannot be stopped.
func wake(*os.Process) error { return nil }
