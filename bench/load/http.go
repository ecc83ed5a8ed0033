package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

type headerFlag []string

func (h *headerFlag) String() string { return strings.Join(*h, ", ") }

func (h *headerFlag) Set(value string) error {
	*h = append(*h, value)
	return nil
}

func runHTTP(args []string) error {
	flags := flag.NewFlagSet("http", flag.ContinueOnError)
	target := flags.String("target", "", "host:port of the sidecar")
	method := flags.String("method", "GET", "verb")
	path := flags.String("path", "/", "path and query")
	var headers headerFlag
	flags.Var(&headers, "header", "name: value")
	p := planFlags(flags)
	if err := parse(flags, args); err != nil {
		return err
	}
	body, err := readBody()
	if err != nil {
		return err
	}
	callers, err := httpCallers(p, *target, func(number int) []byte {
		mine := bytes.ReplaceAll(body, []byte("@CALLER@"), []byte(strconv.Itoa(firstCaller+number)))
		return requestBytes(*target, *method, *path, headers, mine)
	})
	if err != nil {
		return err
	}
	return drive(p, callers)
}

// readBody takes the request's body from the standard input: its length in eight bytes, then the bytes.
func readBody() ([]byte, error) {
	var size uint64
	if err := binary.Read(os.Stdin, binary.BigEndian, &size); err != nil {
		return nil, err
	}
	body := make([]byte, size)
	_, err := io.ReadFull(os.Stdin, body)
	return body, err
}

func httpCallers(p *plan, target string, request func(number int) []byte) ([]caller, error) {
	callers := make([]caller, p.callers)
	for i := range callers {
		conn, err := net.DialTimeout("tcp", target, 5*time.Second)
		if err != nil {
			return nil, err
		}
		if err := conn.SetDeadline(time.Now().Add(p.all())); err != nil {
			return nil, err
		}
		callers[i] = httpCaller(conn, request(i))
	}
	return callers, nil
}

func requestBytes(host, method, path string, headers []string, body []byte) []byte {
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, host)
	for _, header := range headers {
		head += header + "\r\n"
	}
	if len(body) > 0 {
		head += fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	return append([]byte(head+"\r\n"), body...)
}

func httpCaller(conn net.Conn, request []byte) caller {
	from := bufio.NewReaderSize(conn, 16<<10)
	var m message
	return func() error {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		if err := m.read(from, isBodiless); err != nil {
			return err
		}
		if m.first[9] != '2' {
			return fmt.Errorf("answered %s: %s", strings.TrimSpace(string(m.first)), m.body)
		}
		return nil
	}
}

func isBodiless(first []byte) bool { return string(first[9:12]) == "204" }
