package wire

import (
	"bytes"
	"encoding/hex"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestOfficialClients reads requests that the official clients sent: the header says where they go, and the arguments,
// written again by us, are the same bytes, but for empty fields that the Java client leaves out.
func TestOfficialClients(t *testing.T) {
	text, err := os.ReadFile("testdata/clients.txt")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]call{}
	for _, c := range calls() {
		known[c.name()] = c
	}
	seen := map[uint32]int{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.Fields(line)
		version, err := strconv.ParseUint(parts[0], 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		frame, err := hex.DecodeString(parts[2])
		if err != nil {
			t.Fatal(err)
		}
		seen[uint32(version)]++
		t.Run(parts[1]+"/"+parts[0], func(t *testing.T) { officialRequest(t, known[parts[1]], parts[1], uint32(version), frame) })
	}
	if seen[0] < 12 || seen[1] < 12 {
		t.Errorf("%v frames by header version, want 12 of each", seen)
	}
}

func officialRequest(t *testing.T, c call, name string, version uint32, frame []byte) {
	if c == nil {
		t.Fatal("no such call is known")
	}
	r := bytes.NewReader(frame)
	q, err := ReadRequest(r)
	if err != nil || r.Len() > 0 {
		t.Fatalf("%v, %d bytes are left", err, r.Len())
	}
	if q.Name != name || q.Version != version || q.OneWay || q.Backup {
		t.Fatalf("read as %+v", q)
	}
	toMeta := name == QueryConfig.Name
	scan := name == Scan.Name || name == GetScanner.Name
	// The Java client addresses a meta server as -1.-2.
	if (q.GPID.App <= 0) != toMeta || q.TimeoutMillis <= 0 || (q.PartitionHash == 0) != toMeta && !scan {
		t.Errorf("the header is %+v", q.Header)
	}
	if q.PartitionHash != 0 && !scan && int(q.PartitionHash%4) != int(q.GPID.Partition) {
		t.Errorf("the hash %x does not lead to partition %d of 4", q.PartitionHash, q.GPID.Partition)
	}
	const fieldHeader, stop = 3, 1
	encoded := q.Args[fieldHeader : len(q.Args)-stop]
	again, err := c.recodeArgs(encoded)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range leftOut(name, version) {
		at := bytes.Index(again, field)
		if at < 0 {
			t.Fatalf("%x is not in %x", field, again)
		}
		again = append(again[:at:at], again[at+len(field):]...)
	}
	equalBytes(t, again, encoded)
	if _, err := ReadRequest(r); err != io.EOF {
		t.Errorf("after the frame: %v", err)
	}
}

// leftOut lists the empty fields, as we write them, that a client leaves out.
func leftOut(name string, version uint32) [][]byte {
	blob := func(id byte) []byte { return []byte{byte(kindStruct), 0, id, 0, 0, 0, 0} }
	switch {
	case version == 0:
	case name == MultiGet.Name:
		return [][]byte{{byte(kindList), 0, 2, byte(kindStruct), 0, 0, 0, 0}, blob(11)}
	case name == GetScanner.Name:
		return [][]byte{blob(8), blob(10)}
	case name == CheckAndMutate.Name:
		return [][]byte{blob(4), blob(3)}
	}
	return nil
}
