package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"
)

// callerMark stands in the body before the number of the caller that published the event.
var callerMark = []byte(`"caller":`)

// firstCaller makes all numbers equally long.
const firstCaller = 1000

// delivered is the app's end: it passes on which callers' events came.
type delivered struct {
	mutex     sync.Mutex
	listeners map[chan int]bool
}

func (d *delivered) tell(event []byte) {
	at := bytes.Index(event, callerMark)
	if at < 0 || len(event) < at+len(callerMark)+4 {
		return
	}
	number, err := strconv.Atoi(string(event[at+len(callerMark) : at+len(callerMark)+4]))
	if err != nil {
		return
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for listener := range d.listeners {
		select {
		case listener <- number:
		default:
		}
	}
}

// stream writes a line for each event until the connection breaks.
func (d *delivered) stream(conn net.Conn) error {
	came := make(chan int, 1<<14)
	d.mutex.Lock()
	if d.listeners == nil {
		d.listeners = map[chan int]bool{}
	}
	d.listeners[came] = true
	d.mutex.Unlock()
	defer func() {
		d.mutex.Lock()
		delete(d.listeners, came)
		d.mutex.Unlock()
	}()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = conn.Read(make([]byte, 1))
	}()
	to := bufio.NewWriter(conn)
	for {
		select {
		case <-gone:
			return net.ErrClosed
		case number := <-came:
			fmt.Fprintln(to, number)
		}
		if len(came) == 0 {
			if err := to.Flush(); err != nil {
				return err
			}
		}
	}
}

// receipts is the callers' end.
type receipts struct {
	each []chan struct{}
}

func listen(app string, callers int) (*receipts, error) {
	conn, err := net.DialTimeout("tcp", app, 5*time.Second)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprint(conn, "GET /deliveries HTTP/1.1\r\nHost: app\r\n\r\n"); err != nil {
		return nil, err
	}
	r := &receipts{each: make([]chan struct{}, callers)}
	for i := range r.each {
		r.each[i] = make(chan struct{}, 1)
	}
	go r.read(conn)
	time.Sleep(50 * time.Millisecond) // the app has to have noticed us before the first event
	return r, nil
}

func (r *receipts) read(conn net.Conn) {
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		number, err := strconv.Atoi(lines.Text())
		if err != nil || number-firstCaller >= len(r.each) || number < firstCaller {
			continue
		}
		select {
		case r.each[number-firstCaller] <- struct{}{}:
		default:
		}
	}
}

// after makes a call that is over when its event was delivered.
func (r *receipts) after(publish caller, number int) caller {
	came := r.each[number]
	timer := time.NewTimer(time.Hour)
	return func() error {
		select {
		case <-came:
		default:
		}
		if err := publish(); err != nil {
			return err
		}
		if !timer.Stop() {
			select {
			case <-timer.C:
			default:
			}
		}
		timer.Reset(10 * time.Second)
		select {
		case <-came:
			return nil
		case <-timer.C:
			return fmt.Errorf("an event was not delivered within 10 s")
		}
	}
}
