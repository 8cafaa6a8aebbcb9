package storage

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/rc4"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
)

// The qualities of protection of DIGEST-MD5 (RFC 2831) by the names that Hadoop gives them, the weakest first.
var protections = []struct{ name, qop string }{{"authentication", "auth"}, {"integrity", "auth-int"}, {"privacy", "auth-conf"}}

// challenge is what a server of DIGEST-MD5 asks with.
type challenge struct {
	realm, nonce string
	qops         []string // in the order of its liking
	ciphers      []string
}

// parseChallenge reads KEY=VALUE,KEY="VALUE",…
func parseChallenge(text string) (challenge, error) {
	var c challenge
	for text != "" {
		key, rest, ok := strings.Cut(strings.TrimLeft(text, ", "), "=")
		if !ok {
			break
		}
		var value string
		if quoted, is := strings.CutPrefix(rest, `"`); is {
			if value, text, ok = strings.Cut(quoted, `"`); !ok {
				return c, errors.New("a quoted value has no end")
			}
		} else {
			value, text, _ = strings.Cut(rest, ",")
		}
		switch strings.TrimSpace(key) {
		case "realm":
			c.realm = value
		case "nonce":
			c.nonce = value
		case "qop":
			c.qops = strings.Split(value, ",")
		case "cipher":
			c.ciphers = strings.Split(value, ",")
		}
	}
	if c.nonce == "" {
		return c, errors.New("it has no nonce")
	}
	if len(c.qops) == 0 {
		c.qops = []string{"auth"}
	}
	return c, nil
}

// digest is a login by DIGEST-MD5, of which both sides know the password.
type digest struct {
	user, password, uri string
	cnonce              string
	qop, cipher         string
	challenge           challenge
}

// choose takes the protection that the server likes best of those that are at least as strong as one.
func (d *digest) choose(least string) error {
	from := slices.IndexFunc(protections, func(p struct{ name, qop string }) bool { return p.name == least })
	for _, qop := range d.challenge.qops {
		at := slices.IndexFunc(protections, func(p struct{ name, qop string }) bool { return p.qop == strings.TrimSpace(qop) })
		if at < 0 || at < from {
			continue
		}
		d.qop = protections[at].qop
		if d.qop == "auth-conf" {
			if !slices.Contains(d.challenge.ciphers, "rc4") {
				return fmt.Errorf("it offers the ciphers %q, and rc4 is needed to agree on AES", d.challenge.ciphers)
			}
			d.cipher = "rc4"
		}
		nonce := make([]byte, 12)
		_, _ = rand.Read(nonce) // it never fails
		d.cnonce = base64.StdEncoding.EncodeToString(nonce)
		return nil
	}
	return &weakError{d.challenge.qops, least}
}

// weakError is the error of a datanode that protects data less than is asked for.
type weakError struct {
	offered []string
	least   string
}

func (e *weakError) Error() string {
	return fmt.Sprintf("the datanode offers the protection %s, and %s is asked for", strings.Join(e.offered, ", "), e.least)
}

// response is the answer to the challenge.
func (d *digest) response() string {
	text := fmt.Sprintf(`charset=utf-8,username="%s",realm="%s",nonce="%s",nc=00000001,cnonce="%s",digest-uri="%s",response=%s,qop=%s`,
		d.user, d.challenge.realm, d.challenge.nonce, d.cnonce, d.uri, d.value("AUTHENTICATE:"), d.qop)
	if d.cipher != "" {
		text += `,cipher="` + d.cipher + `"`
	}
	return text
}

// proven reports whether a server knows the password too.
func (d *digest) proven(answer string) bool {
	value, ok := strings.CutPrefix(answer, "rspauth=")
	return ok && hmac.Equal([]byte(strings.Trim(value, `"`)), []byte(d.value(":")))
}

// value is the response-value of section 2.1.2.1, with the prefix of A2: the two sides have different ones.
func (d *digest) value(prefix string) string {
	a2 := prefix + d.uri
	if d.qop != "auth" {
		a2 += ":" + strings.Repeat("0", 32)
	}
	return hexMD5(hex.EncodeToString(d.secret()) + ":" + d.challenge.nonce + ":00000001:" + d.cnonce + ":" + d.qop + ":" + hexMD5(a2))
}

// secret is H(A1).
func (d *digest) secret() []byte {
	known := md5.Sum([]byte(d.user + ":" + d.challenge.realm + ":" + d.password))
	sum := md5.Sum([]byte(string(known[:]) + ":" + d.challenge.nonce + ":" + d.cnonce))
	return sum[:]
}

func hexMD5(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

// layers are what is put around messages once both sides have proven themselves (sections 2.3 and 2.4): of those that the
// client sends, and of those that the server sends.
func (d *digest) layers() (client, server *layer) {
	return d.layer("client-to-server"), d.layer("server-to-client")
}

func (d *digest) layer(direction string) *layer {
	key := func(use string) []byte {
		sum := md5.Sum(append(slices.Clone(d.secret()), use+" magic constant"...))
		return sum[:]
	}
	l := &layer{mac: hmac.New(md5.New, key("Digest session key to "+direction+" signing key"))}
	if d.cipher != "" {
		l.cipher, _ = rc4.NewCipher(key("Digest H(A1) to " + direction + " sealing key")) // 16 bytes are a key
	}
	return l
}

// layer signs the messages of one direction, and encrypts them when it has a cipher.
type layer struct {
	mac    hash.Hash
	cipher *rc4.Cipher
	next   uint32 // the number of the next message
}

// What is behind a message: ten bytes of its code, the version of the layer, and its number.
const (
	codeSize = 10
	tailSize = 2 + 4
)

// seal makes of a message what is sent of it.
func (l *layer) seal(message []byte) []byte {
	sealed := append(slices.Clone(message), l.code(message)...)
	if l.cipher != nil {
		l.cipher.XORKeyStream(sealed, sealed)
	}
	sealed = binary.BigEndian.AppendUint16(sealed, 1)
	sealed = binary.BigEndian.AppendUint32(sealed, l.next)
	l.next++
	return sealed
}

// open is the message that was sealed; its bytes are those of the argument.
func (l *layer) open(sealed []byte) ([]byte, error) {
	n := len(sealed) - tailSize
	if n < codeSize || binary.BigEndian.Uint16(sealed[n:]) != 1 || binary.BigEndian.Uint32(sealed[n+2:]) != l.next {
		return nil, errForged
	}
	body := sealed[:n]
	if l.cipher != nil {
		l.cipher.XORKeyStream(body, body)
	}
	message := body[:n-codeSize]
	if !hmac.Equal(body[n-codeSize:], l.code(message)) {
		return nil, errForged
	}
	l.next++
	return message, nil
}

var errForged = errors.New("a message of the datanode is not what it sent")

// code is that of the next message.
func (l *layer) code(message []byte) []byte {
	l.mac.Reset()
	l.mac.Write(binary.BigEndian.AppendUint32(nil, l.next))
	l.mac.Write(message)
	return l.mac.Sum(nil)[:codeSize]
}

// maxSealed is how long a sealed message may be where neither side has said otherwise.
const maxSealed = 65536

// layerWriter sends what is written in sealed messages, each behind its length.
type layerWriter struct {
	w     io.Writer
	layer *layer
}

func (w *layerWriter) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		part := p[n:min(len(p), n+maxSealed-codeSize-tailSize)]
		sealed := w.layer.seal(part)
		if _, err := w.w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(sealed))), sealed...)); err != nil {
			return n, err
		}
		n += len(part)
	}
	return len(p), nil
}

// layerReader reads what came in sealed messages.
type layerReader struct {
	r     io.Reader
	layer *layer
	left  []byte // of the last message
}

func (r *layerReader) Read(p []byte) (int, error) {
	for len(r.left) == 0 && len(p) > 0 {
		var size [4]byte
		if _, err := io.ReadFull(r.r, size[:]); err != nil {
			return 0, err
		}
		n := binary.BigEndian.Uint32(size[:])
		if n > 2*maxSealed {
			return 0, fmt.Errorf("a message of the datanode has %d bytes, %d at most are agreed on", n, maxSealed)
		}
		sealed := make([]byte, n)
		_, err := io.ReadFull(r.r, sealed)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err
		}
		if r.left, err = r.layer.open(sealed); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}
