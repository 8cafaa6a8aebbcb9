//go:build !linux && !darwin && !windows

package storage

import "errors"

// diskRoom is not known on other systems.
func diskRoom(string) (free, total uint64, err error) { return 0, 0, errors.ErrUnsupported }
