package wire

import (
	"net"
	"net/netip"
	"strconv"
)

func itoa(n int) string { return strconv.Itoa(n) }

// GPID names a partition of a table.
type GPID struct{ App, Partition int32 }

func (g GPID) String() string { return itoa(int(g.App)) + "." + itoa(int(g.Partition)) }

func (g GPID) pack() int64 { return int64(uint64(uint32(g.Partition))<<32 | uint64(uint32(g.App))) }

func unpackGPID(v int64) GPID { return GPID{App: int32(v), Partition: int32(v >> 32)} }

// ThreadHash is what headers carry so that all calls of a partition meet in one thread of the server.
func (g GPID) ThreadHash() int32 { return g.App*7919 + g.Partition }

// Address is an rpc_address: IPv4 in the upper half, then the port, then a kind whose only valid value is 1. The zero
// value is "no address".
type Address uint64

// AddressOf makes an Address; anything but a valid IPv4 address and port is the zero Address.
func AddressOf(ap netip.AddrPort) Address {
	ip := ap.Addr().Unmap()
	if !ip.Is4() {
		return 0
	}
	b := ip.As4()
	v := uint64(b[0])<<24 | uint64(b[1])<<16 | uint64(b[2])<<8 | uint64(b[3])
	return Address(v<<32 | uint64(ap.Port())<<16 | 1)
}

// ParseAddress reads "10.0.0.1:34801".
func ParseAddress(text string) (Address, error) {
	ap, err := netip.ParseAddrPort(text)
	if err != nil {
		return 0, err
	}
	return AddressOf(ap), nil
}

// Valid reports whether there is an address at all.
func (a Address) Valid() bool { return a&3 == 1 }

// AddrPort answers the invalid AddrPort for an invalid Address.
func (a Address) AddrPort() netip.AddrPort {
	if !a.Valid() {
		return netip.AddrPort{}
	}
	ip := netip.AddrFrom4([4]byte{byte(a >> 56), byte(a >> 48), byte(a >> 40), byte(a >> 32)})
	return netip.AddrPortFrom(ip, uint16(a>>16))
}

// String is "ip:port", "" for an invalid Address.
func (a Address) String() string {
	if !a.Valid() {
		return ""
	}
	return a.AddrPort().String()
}

// HostPort names a server by host name (releases after 2.5). Type is 0 for none and 1 for a host.
type HostPort struct {
	Host string
	Port uint16
	Type byte
}

// Valid reports whether there is a host at all.
func (h HostPort) Valid() bool { return h.Type == 1 && h.Host != "" }

// String is "host:port", "" for an invalid HostPort.
func (h HostPort) String() string {
	if !h.Valid() {
		return ""
	}
	return net.JoinHostPort(h.Host, itoa(int(h.Port)))
}
