package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

var (
	pong      = []byte("{\"pong\":true}")
	notFound  = []byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
	streaming = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
	filler    = bytes.Repeat([]byte("x"), 256<<10)
)

// app is what stands behind the sidecars: it answers an empty call with a few bytes, any other with as many bytes
// as it got, streams when asked to, and tells the callers which of their events came.
type app struct {
	topics    []topic
	overGRPC  []topic
	delivered *delivered
}

type topic struct{ broker, name string }

func runApp(args []string) error {
	flags := flag.NewFlagSet("app", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:0", "address for HTTP")
	grpcAt := flags.String("grpc", "", "address for gRPC")
	subscribe := flags.String("subscribe", "", "topics over HTTP, as broker/topic with commas between")
	overGRPC := flags.String("subscribe-grpc", "", "topics over gRPC")
	if err := parse(flags, args); err != nil {
		return err
	}
	a := &app{topics: topics(*subscribe), overGRPC: topics(*overGRPC), delivered: &delivered{}}
	door, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	if *grpcAt != "" {
		if err := serveGRPC(a, *grpcAt); err != nil {
			return err
		}
	}
	for {
		conn, err := door.Accept()
		if err != nil {
			return err
		}
		go a.serve(conn)
	}
}

func topics(list string) []topic {
	var found []topic
	for _, each := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
		broker, name, _ := strings.Cut(each, "/")
		found = append(found, topic{broker, name})
	}
	return found
}

func (a *app) serve(conn net.Conn) {
	defer conn.Close()
	from := bufio.NewReaderSize(conn, 64<<10)
	var m message
	for {
		if err := m.read(from, neverBodiless); err != nil {
			return
		}
		if err := a.answer(conn, &m); err != nil {
			return
		}
	}
}

func (a *app) answer(conn net.Conn, m *message) error {
	path, _, _ := strings.Cut(strings.TrimSpace(string(m.first)), " HTTP/")
	_, path, _ = strings.Cut(path, " ")
	switch path {
	case "/dapr/config":
		_, err := conn.Write(notFound)
		return err
	case "/dapr/subscribe":
		return ok(conn, a.subscriptions())
	case "/events":
		a.delivered.tell(m.body)
		return ok(conn, pong)
	case "/deliveries":
		return a.delivered.stream(conn)
	case "/slow":
		return stream(conn, filler[:16<<10], 0)
	case "/drip":
		return stream(conn, filler[:1<<10], time.Second)
	case "/upload":
		return ok(conn, pong)
	}
	if m.size == 0 {
		return ok(conn, pong)
	}
	return ok(conn, filler[:min(m.size, len(filler))])
}

func (a *app) subscriptions() []byte {
	var rows []string
	for _, t := range a.topics {
		rows = append(rows, fmt.Sprintf(`{"pubsubname":%q,"topic":%q,"route":"/events"}`, t.broker, t.name))
	}
	return []byte("[" + strings.Join(rows, ",") + "]")
}

func ok(conn io.Writer, body []byte) error {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(body))
	_, err := conn.Write(append([]byte(head), body...))
	return err
}

// stream sends pieces until the other side goes away.
func stream(conn net.Conn, piece []byte, pause time.Duration) error {
	if _, err := conn.Write(streaming); err != nil {
		return err
	}
	chunk := append(append([]byte(fmt.Sprintf("%x\r\n", len(piece))), piece...), '\r', '\n')
	for {
		if _, err := conn.Write(chunk); err != nil {
			return err
		}
		time.Sleep(pause)
	}
}

func min(a, b int) int {
	if a < b {
		return a
	}
	return b
}

func neverBodiless([]byte) bool { return false }
