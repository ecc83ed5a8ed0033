package main

import (
	"encoding/json"
	"flag"
	"os"
	"runtime"
	"sort"
	"sync"
	"syscall"
	"time"
)

// plan says how hard to call. With a rate the calls are due at fixed instants and latency counts from
// the instant a call was due, so a stall of the sidecar shows in every call it held up.
type plan struct {
	callers int
	warmUp  time.Duration
	span    time.Duration
	rate    float64
	app     string
}

func planFlags(flags *flag.FlagSet) *plan {
	p := &plan{}
	flags.IntVar(&p.callers, "callers", 16, "calls in flight")
	flags.DurationVar(&p.warmUp, "warm-up", 0, "how long to call before counting")
	flags.DurationVar(&p.span, "for", 3*time.Second, "how long to call")
	flags.Float64Var(&p.rate, "rate", 0, "calls a second over all callers (0: as fast as they return)")
	flags.StringVar(&p.app, "deliveries", "", "the app's host:port: a call is over when the app has got its event")
	return p
}

// all is how long connections have to live.
func (p *plan) all() time.Duration { return p.warmUp + p.span + 20*time.Second }

// outcome is the line of JSON the bench reads.
type outcome struct {
	Requests   int     `json:"requests"`
	Errors     int     `json:"errors"`
	FirstError string  `json:"first_error"`
	Seconds    float64 `json:"seconds"`
	P50        float64 `json:"p50_us"`
	P90        float64 `json:"p90_us"`
	P99        float64 `json:"p99_us"`
	CPUSeconds float64 `json:"cpu_seconds"`
}

// patience is how long after its end a run at a fixed rate waits for calls that are late.
const patience = 5 * time.Second

// caller makes one call; nobody else uses it meanwhile.
type caller func() error

type tally struct {
	latencies  []float64
	errors     int
	firstError error
}

// drive warms up, says so on a line, waits for a line, calls until the span is over and prints the outcome.
func drive(p *plan, callers []caller) error {
	if p.app != "" {
		receipts, err := listen(p.app, len(callers))
		if err != nil {
			return err
		}
		for i := range callers {
			callers[i] = receipts.after(callers[i], i)
		}
	}
	if p.warmUp > 0 {
		press(&plan{span: p.warmUp}, callers)
	}
	if _, err := os.Stdout.WriteString("warm\n"); err != nil {
		return err
	}
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(press(p, callers))
}

// press makes the calls of the plan, and sums up what the callers saw.
func press(p *plan, callers []caller) outcome {
	tallies := make([]tally, len(callers))
	cpu, start := cpuSeconds(), time.Now()
	var due chan time.Time
	if p.rate > 0 {
		due = make(chan time.Time, 1<<20)
		go pace(due, start, p)
	}
	var group sync.WaitGroup
	for i := range callers {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			tallies[i].latencies = make([]float64, 0, 1<<14)
			if due != nil {
				tallies[i].follow(due, start.Add(p.span+patience), callers[i])
			} else {
				tallies[i].run(start.Add(p.span), callers[i])
			}
		}(i)
	}
	group.Wait()
	result := sum(tallies)
	result.Seconds = time.Since(start).Seconds()
	result.CPUSeconds = cpuSeconds() - cpu
	return result
}

// pace hands out the instants at which calls are due. It sleeps in the kernel on a thread of its own: the timers of
// Go's runtime are late by up to a millisecond.
func pace(due chan<- time.Time, start time.Time, p *plan) {
	runtime.LockOSThread()
	defer close(due)
	for n := 0; ; n++ {
		at := start.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
		if at.Sub(start) >= p.span {
			return
		}
		if wait := time.Until(at); wait > 0 {
			nap := syscall.NsecToTimespec(wait.Nanoseconds())
			_ = syscall.Nanosleep(&nap, nil)
		}
		due <- at
	}
}

// follow makes the calls that are due. Those whose turn has not come when patience is over count as lasting till then.
func (t *tally) follow(due <-chan time.Time, until time.Time, call caller) {
	for at := range due {
		if time.Now().After(until) {
			t.latencies = append(t.latencies, float64(until.Sub(at))/float64(time.Microsecond))
		} else if !t.one(at, call) {
			return
		}
	}
}

func (t *tally) run(until time.Time, call caller) {
	for {
		began := time.Now()
		if began.After(until) || !t.one(began, call) {
			return
		}
	}
}

// one says whether it is worth going on.
func (t *tally) one(began time.Time, call caller) bool {
	if err := call(); err != nil {
		t.errors++
		t.firstError = err
		return false
	}
	t.latencies = append(t.latencies, float64(time.Since(began))/float64(time.Microsecond))
	return true
}

func sum(tallies []tally) outcome {
	var all []float64
	var o outcome
	for _, t := range tallies {
		all = append(all, t.latencies...)
		o.Errors += t.errors
		if t.firstError != nil {
			o.FirstError = t.firstError.Error()
		}
	}
	sort.Float64s(all)
	o.Requests = len(all)
	if len(all) > 0 {
		o.P50, o.P90, o.P99 = all[len(all)/2], all[len(all)*90/100], all[len(all)*99/100]
	}
	return o
}

func cpuSeconds() float64 {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		return 0
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano()).Seconds()
}
