package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

const (
	uploadBytes = 50 << 20
	// calmFor small calls in a row have to be quick before the endless streams count as slow: at first they fill
	// all buffers on their way. After longest it is not waited for.
	calmFor = 100
	longest = 15 * time.Second
)

// mixture is the line of JSON the bench reads.
type mixture struct {
	Alone   outcome `json:"alone"`
	Streams outcome `json:"streams"`
	Mixed   outcome `json:"mixed"`
	Fill    float64 `json:"fill_seconds"`
	Open    int64   `json:"open"`
	Read    int64   `json:"read"`
	Sent    int64   `json:"sent"`
	Uploads int64   `json:"uploads"`
	Failed  string  `json:"failed"`
}

// crowd is everything that goes on beside the small calls.
type crowd struct {
	target, base  string
	open, read    atomic.Int64
	sent, uploads atomic.Int64
	uploadRate    float64
	failed        atomic.Value
	stop          chan struct{}
}

// runMixed times small calls thrice: alone, beside slow streams, and beside these and an upload.
func runMixed(args []string) error {
	flags := flag.NewFlagSet("mixed", flag.ContinueOnError)
	target := flags.String("target", "", "host:port of the sidecar")
	base := flags.String("path", "", "path of the app's methods on it")
	streams := flags.Int("streams", 256, "slow streams, 1 KiB a second each")
	endless := flags.Int("endless", 0, "how many of them the app sends without end, while 8 KiB a second are read")
	uploadRate := flags.Float64("upload-rate", 0, "MB a second of the upload (0: as fast as it goes)")
	p := planFlags(flags)
	if err := parse(flags, args); err != nil {
		return err
	}
	callers := patientCallers(p.callers, *target, requestBytes(*target, "GET", *base+"ping", nil, nil))
	c := &crowd{target: *target, base: *base, uploadRate: *uploadRate * 1e6, stop: make(chan struct{})}
	press(&plan{span: p.warmUp}, callers)
	var m mixture
	m.Alone = press(p, callers)
	for i := 0; i < *streams; i++ {
		go c.try(i < *endless)
	}
	for n := 0; n < 500 && c.open.Load() < int64(*streams); n++ {
		time.Sleep(10 * time.Millisecond)
	}
	m.Fill = settle(callers[0], time.Duration(m.Alone.P50*float64(time.Microsecond)))
	m.Streams = press(p, callers)
	go c.uploadAgain()
	time.Sleep(100 * time.Millisecond)
	m.Open = c.open.Load()
	before := c.read.Load()
	m.Mixed = press(p, callers)
	m.Read, m.Sent, m.Uploads = c.read.Load()-before, c.sent.Load(), c.uploads.Load()
	close(c.stop)
	if failed := c.failed.Load(); failed != nil {
		m.Failed = fmt.Sprint(failed)
	}
	return json.NewEncoder(os.Stdout).Encode(m)
}

// settle waits until calls are quick again, and says how many seconds that took.
func settle(call caller, usual time.Duration) float64 {
	began := time.Now()
	for quick := 0; quick < calmFor && time.Since(began) < longest; quick++ {
		start := time.Now()
		if call() != nil || time.Since(start) > 5*usual+5*time.Millisecond {
			quick = -1
		}
	}
	return time.Since(began).Seconds()
}

// patientCallers call on a connection each, and on a new one when an answer is not there after all their patience:
// the call then counts as having taken that long.
func patientCallers(count int, target string, request []byte) []caller {
	callers := make([]caller, count)
	for i := range callers {
		var conn net.Conn
		var call caller
		callers[i] = func() error {
			if conn == nil {
				var err error
				if conn, err = net.DialTimeout("tcp", target, patience); err != nil {
					return err
				}
				call = httpCaller(conn, request)
			}
			if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
				return err
			}
			err := call()
			if errors.Is(err, os.ErrDeadlineExceeded) {
				conn.Close()
				conn = nil
				return nil
			}
			return err
		}
	}
	return callers
}

func (c *crowd) try(endless bool) {
	if err := c.readSlowly(endless); err != nil {
		c.failed.Store(err.Error())
	}
}

// readSlowly keeps one response open. An endless one is read by 4 KiB twice a second.
func (c *crowd) readSlowly(endless bool) error {
	conn, err := net.DialTimeout("tcp", c.target, 5*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	path := c.base + "drip"
	if endless {
		path = c.base + "slow"
		if err := conn.(*net.TCPConn).SetReadBuffer(16 << 10); err != nil {
			return err
		}
	}
	if _, err := conn.Write(requestBytes(c.target, "GET", path, nil, nil)); err != nil {
		return err
	}
	from := bufio.NewReaderSize(conn, 4<<10)
	line, err := from.ReadString('\n')
	if err != nil {
		return err
	}
	if line[9] != '2' {
		return fmt.Errorf("a stream was answered %s", line)
	}
	c.open.Add(1)
	piece := make([]byte, 4<<10)
	for {
		select {
		case <-c.stop:
			return nil
		default:
		}
		n, err := from.Read(piece)
		if err != nil {
			return fmt.Errorf("a stream ended: %w", err)
		}
		c.read.Add(int64(n))
		if endless {
			time.Sleep(500 * time.Millisecond)
		}
	}
}

func (c *crowd) uploadAgain() {
	for {
		select {
		case <-c.stop:
			return
		default:
		}
		if err := c.upload(); err != nil {
			select {
			case <-c.stop:
			default:
				c.failed.Store("the upload: " + err.Error())
			}
			return
		}
		c.uploads.Add(1)
	}
}

func (c *crowd) upload() error {
	conn, err := net.DialTimeout("tcp", c.target, 5*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	head := fmt.Sprintf("POST %supload HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n", c.base, c.target, uploadBytes)
	if _, err := io.WriteString(conn, head); err != nil {
		return err
	}
	start := time.Now()
	for sent := 0; sent < uploadBytes; sent += 64 << 10 {
		if _, err := conn.Write(filler[:64<<10]); err != nil {
			var m message
			_ = m.read(bufio.NewReader(conn), isBodiless)
			return fmt.Errorf("%w, after the answer %s: %s", err, m.first, m.body)
		}
		c.sent.Add(64 << 10)
		if c.uploadRate > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(float64(sent) / c.uploadRate * float64(time.Second)))))
		}
	}
	var m message
	if err := m.read(bufio.NewReader(conn), isBodiless); err != nil {
		return err
	}
	if m.first[9] != '2' {
		return fmt.Errorf("answered %s: %s", m.first, m.body)
	}
	return nil
}
