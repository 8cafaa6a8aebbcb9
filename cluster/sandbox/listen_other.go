//go:build !unix

package sandbox

import "net"

func listenPrivate(path string) (net.Listener, error) { return net.Listen("unix", path) }
