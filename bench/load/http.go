package main

import (
	"bufio"
	"flag"
	"fmt"
	"net"
	"strings"
	"time"
)

func runHTTP(args []string) error {
	flags := flag.NewFlagSet("http", flag.ContinueOnError)
	target := flags.String("target", "", "host:port of the sidecar")
	method := flags.String("method", "GET", "verb")
	path := flags.String("path", "/", "path and query")
	body := flags.String("body", "", "JSON body")
	p := planFlags(flags)
	if err := parse(flags, args); err != nil {
		return err
	}
	callers := make([]caller, p.callers)
	for i := range callers {
		conn, err := net.DialTimeout("tcp", *target, 5*time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(p.span + 10*time.Second)); err != nil {
			return err
		}
		callers[i] = httpCaller(conn, requestBytes(*target, *method, *path, *body))
	}
	return drive(p, callers)
}

func requestBytes(host, method, path, body string) []byte {
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, host)
	if body != "" {
		head += fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	return []byte(head + "\r\n" + body)
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
			return fmt.Errorf("answered %s", strings.TrimSpace(string(m.first)))
		}
		return nil
	}
}

func isBodiless(first []byte) bool { return string(first[9:12]) == "204" }
