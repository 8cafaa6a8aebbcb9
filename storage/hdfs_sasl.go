package storage

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"google.golang.org/protobuf/encoding/protowire"
)

// saslConn is a connection to a datanode that wants to know whom it speaks to, and perhaps that what is sent be signed or
// encrypted (dfs.data.transfer.protection). What one has to show is the token of the block, which the namenode gave; it is
// in the first request. So the login is made when that is written. The library has a login of its own, which loses bytes
// of signed and of encrypted messages that are longer than what is read at a time.
type saslConn struct {
	net.Conn
	least string // the weakest protection that is good enough

	first []byte    // of the first request, as long as it is not whole
	ready bool      // the login is made
	r     io.Reader // the two are the protected connection
	w     io.Writer
}

// privilegedPorts are below it: a datanode that listens there is trusted, and wants no login.
const privilegedPorts = 1024

// protect makes a connection to a datanode one with a login.
func protect(conn net.Conn, least string) net.Conn {
	if at, ok := conn.RemoteAddr().(*net.TCPAddr); ok && at.Port < privilegedPorts {
		return conn
	}
	return &saslConn{Conn: conn, least: least, r: conn, w: conn}
}

// magic begins a login (0xDEADBEEF).
var magic = []byte{0xde, 0xad, 0xbe, 0xef}

// maxRequest bounds the first request.
const maxRequest = 1 << 20

func (c *saslConn) Write(p []byte) (int, error) {
	if c.ready {
		return c.w.Write(p)
	}
	c.first = append(c.first, p...)
	if bytes.HasPrefix(c.first, magic) {
		// The library logs in by itself where the namenode says that all data is encrypted: with a key of the namenode's
		// that it shows nobody.
		c.ready, c.r = true, &loginWatch{r: c.Conn}
	} else {
		user, password, whole, err := blockToken(c.first)
		if err != nil || !whole && len(c.first) > maxRequest {
			return 0, errors.Join(errors.New("the request for a block is not understood"), err)
		}
		if !whole {
			return len(p), nil
		}
		if err := c.login(user, password); err != nil {
			return 0, err
		}
		c.ready = true
	}
	first := c.first
	c.first = nil
	if _, err := c.w.Write(first); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *saslConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// blockChecksum is the operation whose header is less deep than that of others.
const blockChecksum = 0x55

// blockToken finds the token in the first request: two bytes of a version, one of the operation, and a message behind its
// length. whole is false as long as more of it has to come.
func blockToken(request []byte) (identifier, password []byte, whole bool, err error) {
	if len(request) < 4 {
		return nil, nil, false, nil
	}
	message, n := protowire.ConsumeBytes(request[3:])
	if n < 0 {
		if errors.Is(protowire.ParseError(n), io.ErrUnexpectedEOF) {
			return nil, nil, false, nil
		}
		return nil, nil, false, protowire.ParseError(n)
	}
	header := protoBytes(message, 1)
	if request[2] != blockChecksum {
		header = protoBytes(header, 1)
	}
	token := protoBytes(header, 2)
	return protoBytes(token, 1), protoBytes(token, 2), true, nil
}

// protoBytes is a field of a message that is bytes or a message, nil when there is none.
func protoBytes(message []byte, number protowire.Number) []byte {
	var found []byte
	for len(message) > 0 {
		at, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil
		}
		message = message[n:]
		if n = protowire.ConsumeFieldValue(at, kind, message); n < 0 {
			return nil
		}
		if at == number && kind == protowire.BytesType {
			found, _ = protowire.ConsumeBytes(message)
		}
		message = message[n:]
	}
	return found
}

// Fields of DataTransferEncryptorMessageProto, which both sides send while they log in, and of CipherOptionProto in it.
const (
	fieldStatus  = 1
	fieldPayload = 2
	fieldMessage = 3
	fieldCipher  = 4
	fieldSuite   = 1
	suiteAES     = 2 // AES/CTR/NoPadding
)

// login proves both sides to each other: the token's identifier and password are a name and a password of DIGEST-MD5.
func (c *saslConn) login(identifier, password []byte) error {
	r := bufio.NewReader(io.LimitReader(c.Conn, maxRequest))
	if _, err := c.Conn.Write(append(bytes.Clone(magic), loginMessage(nil, false)...)); err != nil {
		return err
	}
	payload, _, err := readLogin(r)
	if err != nil {
		return err
	}
	d := &digest{user: base64.StdEncoding.EncodeToString(identifier), password: base64.StdEncoding.EncodeToString(password), uri: "hdfs/0"}
	if d.challenge, err = parseChallenge(string(payload)); err != nil {
		return fmt.Errorf("the challenge of the datanode: %w", err)
	}
	if err := d.choose(c.least); err != nil {
		return tooWeak(err)
	}
	if _, err := c.Conn.Write(loginMessage([]byte(d.response()), d.cipher != "")); err != nil {
		return err
	}
	proof, option, err := readLogin(r)
	if err != nil {
		return err
	}
	if !d.proven(string(proof)) {
		return errors.New("the datanode does not prove that it knows the token of the block")
	}
	if r.Buffered() > 0 {
		return errors.New("the datanode speaks before it is asked")
	}
	if d.qop == "auth" {
		return nil
	}
	sent, received := d.layers()
	c.w, c.r = &layerWriter{w: c.Conn, layer: sent}, &layerReader{r: c.Conn, layer: received}
	if option == nil {
		return nil
	}
	return c.encrypt(option, received)
}

// encrypt takes AES, whose keys came in sealed messages, in place of the layers.
func (c *saslConn) encrypt(option []byte, received *layer) error {
	stream := func(key, iv protowire.Number) (cipher.Stream, error) {
		secret, err := received.open(bytes.Clone(protoBytes(option, key)))
		if err != nil {
			return nil, err
		}
		block, err := aes.NewCipher(secret)
		if err != nil {
			return nil, err
		}
		if vector := protoBytes(option, iv); len(vector) == aes.BlockSize {
			return cipher.NewCTR(block, vector), nil
		}
		return nil, errors.New("the datanode names no initial vector")
	}
	in, err := stream(2, 3) // of the datanode's side
	if err != nil {
		return err
	}
	out, err := stream(4, 5)
	if err != nil {
		return err
	}
	c.w, c.r = cipher.StreamWriter{S: in, W: c.Conn}, cipher.StreamReader{S: out, R: c.Conn}
	return nil
}

// loginMessage is a message of the login, behind its length.
func loginMessage(payload []byte, encrypted bool) []byte {
	m := protowire.AppendVarint(protowire.AppendTag(nil, fieldStatus, protowire.VarintType), 0) // well so far
	if payload != nil {
		m = protowire.AppendBytes(protowire.AppendTag(m, fieldPayload, protowire.BytesType), payload)
	}
	if encrypted {
		option := protowire.AppendVarint(protowire.AppendTag(nil, fieldSuite, protowire.VarintType), suiteAES)
		m = protowire.AppendBytes(protowire.AppendTag(m, fieldCipher, protowire.BytesType), option)
	}
	return protowire.AppendBytes(nil, m)
}

// readLogin reads a message of the login.
func readLogin(r *bufio.Reader) (payload, option []byte, err error) {
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, nil, err
	}
	if size > maxRequest {
		return nil, nil, fmt.Errorf("a message of the login to the datanode has %d bytes", size)
	}
	m := make([]byte, size)
	if _, err := io.ReadFull(r, m); err != nil {
		return nil, nil, err
	}
	if payload = protoBytes(m, fieldPayload); payload == nil {
		why := protoBytes(m, fieldMessage)
		if why == nil {
			why = []byte("it does not say why")
		}
		return nil, nil, fmt.Errorf("the datanode refuses the token of the block: %.200q", why)
	}
	return payload, protoBytes(m, fieldCipher), nil
}

// loginWatch reads what a datanode says to a login of the library's, and ends one after which messages are sealed: of these
// the library loses bytes. With AES it does not.
type loginWatch struct {
	r    io.Reader
	said []byte
	over bool
}

func (w *loginWatch) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if w.over {
		return n, err
	}
	w.said = append(w.said, p[:n]...)
	r := bufio.NewReader(bytes.NewReader(w.said))
	if _, _, first := readLogin(r); first != nil {
		return n, err // of one that is not whole, or is refused
	}
	_, option, second := readLogin(r)
	if second != nil {
		return n, err
	}
	w.said, w.over = nil, true
	if option == nil {
		return 0, hinted(&reasoned{BadCredentials, errors.New("the datanode encrypts all data, and not by AES")},
			"set dfs.encrypt.data.transfer.cipher.suites to AES/CTR/NoPadding in hdfs-site.xml of the datanodes")
	}
	return n, err
}

// tooWeak is the error of data that would be protected less than asked for.
func tooWeak(err error) error {
	return hinted(&reasoned{BadCredentials, err}, "make dfs.data.transfer.protection in hdfs-site.xml of HADOOP_CONF_DIR what the datanodes have")
}
