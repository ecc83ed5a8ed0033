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

// readMessage reads one message and throws its body away. The first line is only valid until the next read.
func readMessage(from *bufio.Reader, bodiless func(first []byte) bool) (message, error) {
	var m message
	line, err := from.ReadSlice('\n')
	if err != nil {
		return m, err
	}
	m.first = append(m.first, line...)
	if len(m.first) < 12 {
		return m, errTooShort
	}
	if err := m.readHeaders(from); err != nil {
		return m, err
	}
	if bodiless(m.first) {
		return m, nil
	}
	if m.chunked {
		return m, skipChunks(from)
	}
	_, err = from.Discard(m.length)
	return m, err
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
	return len(line) > len(name) && line[len(name)-1] == ':' && bytes.EqualFold(line[:len(name)], name)
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
