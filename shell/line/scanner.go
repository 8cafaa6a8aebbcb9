package line

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"shardsh/commands/spec"
)

// Scanner reads a script. It takes a line as soon as it is there, so a script may be a pipe that is still written to.
type Scanner struct {
	in    *bufio.Reader
	name  string
	line  int // physical lines read
	nul   int // the line of a NUL byte in the current logical line, 0 for none
	fatal error
	end   bool // nothing more to read
}

// NewScanner reads from r; name is what errors call it, and without one they do not tell the line either. A byte order
// mark is skipped, line ends may be CRLF.
func NewScanner(r io.Reader, name string) *Scanner {
	return &Scanner{in: bufio.NewReaderSize(r, 64<<10), name: name}
}

// Next returns the commands of the next logical line that has any; their Pos counts from the start of that line. At
// the end it returns io.EOF. After an error the scanner stands behind the line at fault and may be used on; an unclosed
// quote, a line that is too long and a read error end the script.
func (s *Scanner) Next() ([]Command, error) {
	for {
		src, err := s.read(nil)
		if err != nil {
			s.fatal = nil
			return nil, err
		}
		first := s.line
		s.nul = 0
		if bytes.IndexByte(src, 0) >= 0 {
			s.nul = first
		}
		l := newLexer(src)
		l.line = first
		l.more = func() bool { return s.extend(l) }
		commands, fault := assemble(l)
		switch {
		case s.fatal != nil:
			err, s.fatal = s.fatal, nil
			return nil, err
		case s.nul != 0:
			return nil, s.at(s.nul, holdsNUL())
		case fault != nil:
			return nil, s.at(fault.line, fault.err)
		case len(commands) > 0:
			return commands, nil
		}
	}
}

func (s *Scanner) at(line int, err *spec.Error) error {
	if s.name != "" {
		err.Op = fmt.Sprintf("%s:%d", s.name, line)
	}
	return err
}

// extend appends the next physical line to the lexer's source.
func (s *Scanner) extend(l *lexer) bool {
	have := len(l.src)
	src, err := s.read(append(l.src, '\n'))
	if err != nil {
		return false
	}
	l.src = src
	if s.nul == 0 && bytes.IndexByte(src[have:], 0) >= 0 {
		s.nul = s.line
	}
	return true
}

// read appends the next physical line to dst, without its line end. It answers io.EOF when there is none. Any other
// failure is kept in fatal and ends the script.
func (s *Scanner) read(dst []byte) ([]byte, error) {
	if s.end {
		return nil, io.EOF
	}
	start := len(dst)
	for {
		piece, err := s.in.ReadSlice('\n')
		dst = append(dst, piece...)
		switch {
		case len(dst) > Limit+2: // the line end does not count
			return nil, s.stop(tooLong())
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			s.end = true
			if len(dst) == start {
				return nil, io.EOF
			}
		case err != nil:
			return nil, s.stop(spec.Errorf(spec.Failed, "%w", err))
		}
		break
	}
	s.line++
	dst = bytes.TrimSuffix(dst, []byte{'\n'})
	if len(dst) > start {
		dst = bytes.TrimSuffix(dst, []byte{'\r'})
	}
	if s.line == 1 {
		dst = bytes.TrimPrefix(dst, []byte("\xef\xbb\xbf"))
	}
	return dst, nil
}

func (s *Scanner) stop(err *spec.Error) error {
	s.end = true
	s.fatal = s.at(s.line+1, err)
	return s.fatal
}
