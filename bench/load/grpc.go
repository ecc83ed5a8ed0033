package main

import (
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// rawCodec hands messages through as the bytes they are: the bench encodes its one request beforehand.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) ([]byte, error) {
	raw, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("%T is not raw bytes", v)
	}
	return *raw, nil
}

func (rawCodec) Unmarshal(data []byte, v any) error {
	raw, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("%T is not raw bytes", v)
	}
	*raw = append((*raw)[:0], data...)
	return nil
}

func runGRPC(args []string) error {
	flags := flag.NewFlagSet("grpc", flag.ContinueOnError)
	target := flags.String("target", "", "host:port of the sidecar")
	method := flags.String("method", "", "full name of the call")
	body := flags.String("body", "", "the encoded request, base64")
	p := planFlags(flags)
	if err := parse(flags, args); err != nil {
		return err
	}
	request, err := base64.StdEncoding.DecodeString(*body)
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient("passthrough:///"+*target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), p.span+10*time.Second)
	defer cancel()
	callers := make([]caller, p.callers)
	for i := range callers {
		var reply []byte
		callers[i] = func() error { return conn.Invoke(ctx, *method, &request, &reply) }
	}
	return drive(p, callers)
}
