// SPDX-License-Identifier: Apache-2.0

// A grpc-go server that knows bytes alone, as a peer of the agent's client in tests.
// It prints its port and stops gracefully when its input ends.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

type plain struct{}

func (plain) Name() string { return "proto" }

func (plain) Marshal(message any) ([]byte, error) { return message.([]byte), nil }

func (plain) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = append([]byte(nil), data...)
	return nil
}

func main() {
	methods := map[string]func(grpc.ServerStream) error{
		"/t.T/echo":   func(stream grpc.ServerStream) error { return answer(stream, same) },
		"/t.T/size":   func(stream grpc.ServerStream) error { return answer(stream, size) },
		"/t.T/refuse": func(grpc.ServerStream) error { return status.Error(codes.Aborted, "no: 100 % of “it”") },
		"/t.T/wait":   wait,
	}
	server := grpc.NewServer(
		grpc.ForceServerCodec(plain{}),
		grpc.MaxRecvMsgSize(64<<20),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			name, _ := grpc.MethodFromServerStream(stream)
			if method, known := methods[name]; known {
				return method(stream)
			}
			return status.Error(codes.Unimplemented, "no such method")
		}),
	)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		server.GracefulStop()
	}()
	if err := server.Serve(listener); err != nil {
		panic(err)
	}
}

func same(message []byte) []byte { return message }

func size(message []byte) []byte {
	return []byte{byte(len(message) >> 24), byte(len(message) >> 16), byte(len(message) >> 8), byte(len(message))}
}

func answer(stream grpc.ServerStream, of func([]byte) []byte) error {
	for {
		var message []byte
		if err := stream.RecvMsg(&message); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.SendMsg(of(message)); err != nil {
			return err
		}
	}
}

func wait(stream grpc.ServerStream) error {
	if err := stream.SendMsg([]byte("here")); err != nil {
		return err
	}
	<-stream.Context().Done()
	fmt.Println("cancelled")
	return nil
}
