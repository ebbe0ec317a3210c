// SPDX-License-Identifier: Apache-2.0

// A node that computes, and whose threads wait for a lock of a file that another holds.
package main

import (
	"os"
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

func main() {
	go burns()
	file := opened()
	go func() {
		for {
			waitsForTheLock(file)
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
