package main

import (
	"bufio"
	"bytes"
	"errors"
	"strconv"
)

// message is what the bench needs to know of an HTTP/1.1 message: its first line and how long its body is.
type message struct {
	first   []byte
	length  int
	chunked bool
}

var (
	lengthName  = []byte("content-length:")
	codingName  = []byte("transfer-encoding:")
	errTooShort = errors.New("malformed first line")
)

// read takes one message off the connection in place of the one before, and throws its body away.
func (m *message) read(from *bufio.Reader, bodiless func(first []byte) bool) error {
	line, err := from.ReadSlice('\n')
	if err != nil {
		return err
	}
	*m = message{first: append(m.first[:0], line...)}
	if len(m.first) < 12 {
		return errTooShort
	}
	if err := m.readHeaders(from); err != nil {
		return err
	}
	if bodiless(m.first) {
		return nil
	}
	if m.chunked {
		return skipChunks(from)
	}
	_, err = from.Discard(m.length)
	return err
}

func (m *message) readHeaders(from *bufio.Reader) error {
	for {
		line, err := from.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			return nil
		}
		switch {
		case hasName(line, lengthName):
			if m.length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(lengthName):]))); err != nil {
				return err
			}
		case hasName(line, codingName):
			m.chunked = true
		}
	}
}

func hasName(line, name []byte) bool {
	return len(line) >= len(name) && bytes.EqualFold(line[:len(name)], name)
}

func skipChunks(from *bufio.Reader) error {
	for {
		line, err := from.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return err
		}
		if _, err := from.Discard(int(size) + 2); err != nil {
			return err
		}
		if size == 0 {
			return nil
		}
	}
}
