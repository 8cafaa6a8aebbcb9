//go:build !unix

package config

import "io/fs"

// Elsewhere access is a matter of access control lists, which a file mode does not show.

func foreign(fs.FileInfo, int) string { return "" }

func writableByAll(fs.FileInfo) string { return "" }

func exposed(fs.FileInfo, int) string { return "" }
