package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"net"
)

// The app answers every call with these bytes, save the two questions a sidecar asks when it starts.
var (
	answer   = []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"pong\":true}")
	notFound = []byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
	noTopics = []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]")

	configPath    = []byte(" /dapr/config ")
	subscribePath = []byte(" /dapr/subscribe ")
)

func runApp(args []string) error {
	flags := flag.NewFlagSet("app", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:0", "address to serve on")
	if err := parse(flags, args); err != nil {
		return err
	}
	door, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Println(door.Addr())
	for {
		conn, err := door.Accept()
		if err != nil {
			return err
		}
		go serve(conn)
	}
}

func serve(conn net.Conn) {
	defer conn.Close()
	from := bufio.NewReaderSize(conn, 16<<10)
	var m message
	for {
		if err := m.read(from, neverBodiless); err != nil {
			return
		}
		if _, err := conn.Write(reply(m.first)); err != nil {
			return
		}
	}
}

func reply(first []byte) []byte {
	switch {
	case bytes.Contains(first, configPath):
		return notFound
	case bytes.Contains(first, subscribePath):
		return noTopics
	}
	return answer
}

func neverBodiless([]byte) bool { return false }
