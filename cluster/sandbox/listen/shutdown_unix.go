//go:build unix

package listen

import "syscall"

func shutdown(descriptor uintptr) { _ = syscall.Shutdown(int(descriptor), syscall.SHUT_RDWR) }
