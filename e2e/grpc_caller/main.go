// SPDX-License-Identifier: Apache-2.0

// grpc_caller is a gRPC client of grpc-go that is told what to do in JSON lines: the transport of the
// existing Go agents, as a peer for tests. Each command is answered with one line.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type command struct {
	Do       string            `json:"do"`
	Name     string            `json:"name"`
	Method   string            `json:"method"`
	Metadata map[string]string `json:"metadata"`
	Data     []byte            `json:"data"`
	Size     int               `json:"size"`
}

type answer struct {
	Data    []byte `json:"data,omitempty"`
	Size    int    `json:"size"`
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
}

// raw passes bytes through.
type raw struct{}

func (raw) Name() string                      { return "proto" }
func (raw) Marshal(value any) ([]byte, error) { return *value.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}

type caller struct {
	connection *grpc.ClientConn
	streams    map[string]grpc.ClientStream
	cancels    map[string]context.CancelFunc
}

func (c *caller) open(told command) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	ctx = metadata.NewOutgoingContext(ctx, metadata.New(told.Metadata))
	both := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	stream, err := c.connection.NewStream(ctx, both, told.Method, grpc.ForceCodec(raw{}))
	if err == nil {
		c.streams[told.Name] = stream
		c.cancels[told.Name] = cancel
	}
	return err
}

func (c *caller) do(told command) (answer, error) {
	stream := c.streams[told.Name]
	switch told.Do {
	case "open":
		return answer{}, c.open(told)
	case "send":
		data := told.Data
		if told.Size > 0 {
			data = make([]byte, told.Size)
		}
		return answer{}, stream.SendMsg(&data)
	case "receive":
		var data []byte
		err := stream.RecvMsg(&data)
		if len(data) > 1<<16 {
			return answer{Size: len(data)}, err
		}
		return answer{Size: len(data), Data: data}, err
	case "end":
		return answer{}, stream.CloseSend()
	case "cancel":
		c.cancels[told.Name]()
		return answer{}, nil
	}
	return answer{}, fmt.Errorf("unknown command %q", told.Do)
}

func main() {
	connection, err := grpc.NewClient(
		os.Args[1],
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30), grpc.MaxCallSendMsgSize(1<<30)),
	)
	if err != nil {
		panic(err)
	}
	peer := &caller{connection, map[string]grpc.ClientStream{}, map[string]context.CancelFunc{}}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var told command
		if err := json.Unmarshal(lines.Bytes(), &told); err != nil {
			panic(err)
		}
		answered, err := peer.do(told)
		if err != nil {
			answered.Code, answered.Message = status.Code(err).String(), err.Error()
			if told, ok := status.FromError(err); ok {
				answered.Message = told.Message()
			}
		}
		if err := out.Encode(answered); err != nil {
			panic(err)
		}
	}
}
