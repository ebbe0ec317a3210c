// SPDX-License-Identifier: Apache-2.0

// A node that computes, and whose threads wait for a lock of a file that another holds.
package main

import (
	"os"
	"strconv"
	"syscall"
	"time"
)

var sink uint64

//go:noinline
func burns() {
	for {
		for i := uint64(0); i < 1<<20; i++ {
			sink = sink*31 + i
		}
		time.Sleep(time.Millisecond)
	}
}

func opened() int {
	file, err := syscall.Open(os.Args[1], syscall.O_RDWR|syscall.O_CREAT, 0o600)
	if err != nil {
		panic(err)
	}
	return file
}

//go:noinline
func waitsForTheLock(file int) {
	if err := syscall.Flock(file, syscall.LOCK_EX); err != nil {
		panic(err)
	}
	if err := syscall.Flock(file, syscall.LOCK_UN); err != nil {
		panic(err)
	}
}

// Waits that many calls deeper, each of which takes some hundred bytes of the stack.
//
//go:noinline
func deeper(calls, file int) byte {
	var room [256]byte
	room[calls%len(room)] = 1
	if calls == 0 {
		waitsForTheLock(file)
	} else {
		room[0] = deeper(calls-1, file)
	}
	return room[calls%len(room)]
}

func main() {
	go burns()
	file := opened()
	calls := 0
	if len(os.Args) > 2 {
		calls, _ = strconv.Atoi(os.Args[2])
	}
	go func() {
		for {
			deeper(calls, file)
		}
	}()
	held := opened()
	os.Stdout.WriteString("works\n")
	for {
		if err := syscall.Flock(held, syscall.LOCK_EX); err != nil {
			panic(err)
		}
		time.Sleep(50 * time.Millisecond)
		if err := syscall.Flock(held, syscall.LOCK_UN); err != nil {
			panic(err)
		}
		time.Sleep(time.Millisecond)
	}
}
