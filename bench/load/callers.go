package main

import (
	"encoding/json"
	"flag"
	"os"
	"sort"
	"sync"
	"syscall"
	"time"
)

// plan says how hard to call. With a rate the calls are due at fixed instants and latency counts from
// the instant a call was due, so a stall of the sidecar shows in every call it held up.
type plan struct {
	callers int
	span    time.Duration
	rate    float64
}

func planFlags(flags *flag.FlagSet) *plan {
	p := &plan{}
	flags.IntVar(&p.callers, "callers", 16, "calls in flight")
	flags.DurationVar(&p.span, "for", 3*time.Second, "how long to call")
	flags.Float64Var(&p.rate, "rate", 0, "calls a second over all callers (0: as fast as they return)")
	return p
}

// outcome is the line of JSON the bench reads.
type outcome struct {
	Requests   int     `json:"requests"`
	Errors     int     `json:"errors"`
	FirstError string  `json:"first_error"`
	Seconds    float64 `json:"seconds"`
	P50        float64 `json:"p50_us"`
	P99        float64 `json:"p99_us"`
	CPUSeconds float64 `json:"cpu_seconds"`
}

// caller makes one call; nobody else uses it meanwhile.
type caller func() error

type tally struct {
	latencies  []float64
	errors     int
	firstError error
}

// drive runs every caller until the span is over and prints the outcome.
func drive(p *plan, callers []caller) error {
	tallies := make([]tally, len(callers))
	cpu, start := cpuSeconds(), time.Now()
	var group sync.WaitGroup
	for i := range callers {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			tallies[i].run(p, callers[i], start, i)
		}(i)
	}
	group.Wait()
	result := sum(tallies)
	result.Seconds = time.Since(start).Seconds()
	result.CPUSeconds = cpuSeconds() - cpu
	return json.NewEncoder(os.Stdout).Encode(result)
}

func (t *tally) run(p *plan, call caller, start time.Time, place int) {
	t.latencies = make([]float64, 0, 1<<16)
	for n := place; ; n += p.callers {
		began := time.Now()
		if p.rate > 0 {
			began = start.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
			time.Sleep(time.Until(began))
		}
		if began.Sub(start) >= p.span {
			return
		}
		if err := call(); err != nil {
			t.errors++
			t.firstError = err
			if t.errors > 100 {
				return
			}
			continue
		}
		t.latencies = append(t.latencies, float64(time.Since(began))/float64(time.Microsecond))
	}
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
		o.P50, o.P99 = all[len(all)/2], all[len(all)*99/100]
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
