package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
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
	strict := flags.Bool("deadline", false, "give each call a deadline of its own")
	var headers headerFlag
	flags.Var(&headers, "header", "name: value")
	p := planFlags(flags)
	if err := parse(flags, args); err != nil {
		return err
	}
	request, err := readBody()
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
	ctx, cancel := context.WithTimeout(context.Background(), p.all())
	defer cancel()
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		ctx = metadata.AppendToOutgoingContext(ctx, name, value)
	}
	callers := make([]caller, p.callers)
	for i := range callers {
		var reply []byte
		callers[i] = func() error { return conn.Invoke(ctx, *method, &request, &reply) }
		if *strict {
			callers[i] = func() error {
				limited, done := context.WithTimeout(ctx, 5*time.Second)
				defer done()
				return conn.Invoke(limited, *method, &request, &reply)
			}
		}
	}
	return drive(p, callers)
}

// serveGRPC is the app over gRPC: the callbacks of a sidecar, and an echo for every other call.
func serveGRPC(a *app, at string) error {
	door, err := net.Listen("tcp", at)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}), grpc.UnknownServiceHandler(
		func(_ any, stream grpc.ServerStream) error {
			method, _ := grpc.MethodFromServerStream(stream)
			var asked []byte
			if err := stream.RecvMsg(&asked); err != nil {
				return err
			}
			reply := a.reply(method, asked)
			return stream.SendMsg(&reply)
		}))
	go func() { _ = server.Serve(door) }()
	return nil
}

func (a *app) reply(method string, asked []byte) []byte {
	_, callback, _ := strings.Cut(method, "/dapr.proto.runtime.v1.AppCallback/")
	switch callback {
	case "ListTopicSubscriptions":
		var all bytes.Buffer
		for _, t := range a.overGRPC {
			all.Write(field(1, append(field(1, []byte(t.broker)), field(2, []byte(t.name))...)))
		}
		return all.Bytes()
	case "OnTopicEvent":
		a.delivered.tell(asked)
		return nil
	case "OnInvoke":
		return append(field(1, field(2, pong)), field(2, []byte("application/json"))...)
	case "":
		return asked
	}
	return nil
}

// field is one protobuf field of fewer than 128 bytes.
func field(number byte, value []byte) []byte {
	return append([]byte{number<<3 | 2, byte(len(value))}, value...)
}
