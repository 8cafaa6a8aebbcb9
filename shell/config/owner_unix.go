//go:build unix

package config

import (
	"fmt"
	"io/fs"
	"syscall"
)

// foreign says that a file belongs neither to the user nor to root, "" when it does.
func foreign(info fs.FileInfo, uid int) string {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != uid && stat.Uid != 0 {
		return fmt.Sprintf("it belongs to user %d, neither to you nor to root", stat.Uid)
	}
	return ""
}

func writableByAll(info fs.FileInfo) string {
	if info.Mode().Perm()&0o002 != 0 {
		return "everybody may write it (chmod o-w)"
	}
	return ""
}

// exposed says why a file is no place for a secret of the user, "" when it is one.
func exposed(info fs.FileInfo, uid int) string {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != uid {
		return fmt.Sprintf("it belongs to user %d and not to you", stat.Uid)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Sprintf("others may access it (mode %04o)", mode)
	}
	return ""
}
