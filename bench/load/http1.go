package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
)

// message is what the bench needs to know of an HTTP/1.1 message: its first line, its body's size and beginning.
type message struct {
	first   []byte
	length  int
	chunked bool
	body    []byte
	size    int
}

// bodyKept is how much of a body is kept.
const bodyKept = 4096

var (
	lengthName  = []byte("content-length:")
	codingName  = []byte("transfer-encoding:")
	errTooShort = errors.New("malformed first line")
)

// read takes one message off the connection in place of the one before, and throws all but the beginning of its body away.
func (m *message) read(from *bufio.Reader, bodiless func(first []byte) bool) error {
	line, err := from.ReadSlice('\n')
	if err != nil {
		return err
	}
	*m = message{first: append(m.first[:0], line...), body: m.body[:0]}
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
		return m.takeChunks(from)
	}
	return m.take(from, m.length)
}

func (m *message) take(from *bufio.Reader, size int) error {
	m.size += size
	kept := min(size, bodyKept-len(m.body))
	if kept > 0 {
		old := len(m.body)
		m.body = append(m.body, make([]byte, kept)...)
		if _, err := io.ReadFull(from, m.body[old:]); err != nil {
			return err
		}
		size -= kept
	}
	_, err := from.Discard(size)
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

func (m *message) takeChunks(from *bufio.Reader) error {
	for {
		line, err := from.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return err
		}
		if err := m.take(from, int(size)); err != nil {
			return err
		}
		if _, err := from.Discard(2); err != nil {
			return err
		}
		if size == 0 {
			return nil
		}
	}
}
