// Command load is the bench's other half: it plays the app behind the sidecars and the callers in front of them.
//
//	load app  -listen 127.0.0.1:9000
//	load http -target 127.0.0.1:3500 -path /v1.0/state/s/k
//	load grpc -target 127.0.0.1:50001 -method /package.Service/Call
//	load mixed -target 127.0.0.1:3500
//
// The callers take the body from the standard input, say when they are warm and print one JSON object. All of it runs on one core unless -procs says otherwise, so that the
// generator takes as little as possible from the sidecar it measures on the same machine.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
)

var commands = map[string]func([]string) error{"app": runApp, "http": runHTTP, "grpc": runGRPC, "mixed": runMixed}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: load app|http|grpc|mixed [flags]")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func parse(flags *flag.FlagSet, args []string) error {
	procs := flags.Int("procs", 1, "cores this process may use")
	if err := flags.Parse(args); err != nil {
		return err
	}
	runtime.GOMAXPROCS(*procs)
	return nil
}
