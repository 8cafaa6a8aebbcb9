package wire

import (
	"bytes"
	"testing"
)

func FuzzReadRequest(f *testing.F) {
	for _, s := range samples() {
		f.Add(s.frame())
	}
	for _, text := range []string{goldenQuery, goldenGet} {
		frame, _ := pieces(text)
		f.Add(frame)
	}
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := ReadRequest(bytes.NewReader(b))
		if err == nil && q == nil {
			t.Fatal("neither a request nor an error")
		}
	})
}

func FuzzReadReply(f *testing.F) {
	for _, s := range samples() {
		f.Add(s.frame())
	}
	frame, _ := pieces(goldenConfig)
	f.Add(frame)
	f.Add(AppendRejection(nil, "RPC_X", 1, CodeBusy))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ReadReply(bytes.NewReader(b))
		if err == nil && len(r.Body) > len(b) {
			t.Fatal("a body out of nothing")
		}
	})
}

// FuzzMessages decodes bytes as the arguments and as the result of one of the calls. What is accepted must, encoded,
// decode to the same again.
func FuzzMessages(f *testing.F) {
	list := calls()
	for i, c := range list {
		for _, s := range samples() {
			switch s.name {
			case c.name():
				q, err := ReadRequest(bytes.NewReader(s.frame()))
				if err != nil {
					f.Fatal(err)
				}
				f.Add(uint8(i), q.Args[3:len(q.Args)-1])
			case c.name() + ackSuffix:
				r, err := ReadReply(bytes.NewReader(s.frame()))
				if err != nil {
					f.Fatal(err)
				}
				f.Add(uint8(i)|0x80, r.Body[3:len(r.Body)-1])
			}
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		c := list[int(which&0x7f)%len(list)]
		recode := c.recodeArgs
		if which&0x80 != 0 {
			recode = c.recodeResult
		}
		once, err := recode(b)
		if err != nil {
			return
		}
		twice, err := recode(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%s: % x, then % x, %v", c.name(), once, twice, err)
		}
	})
}
