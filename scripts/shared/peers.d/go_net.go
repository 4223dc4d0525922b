// Go with a goroutine for each client, on its package net. Stands for: many cheap tasks on a few threads, which steal
// work from each other. (GOMAXPROCS has its default: one for each CPU.)
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

const (
	maxLine = 100 // bytes
	maxN    = 50
)

func fib(n uint64) uint64 {
	if n <= 2 {
		return 1
	}
	return fib(n-1) + fib(n-2)
}

func isNumber(text []byte) bool {
	digits := bytes.TrimLeft(text, "0123456789")
	return len(text) > 0 && len(digits) == 0
}

func reply(text []byte) []byte {
	digits := text
	if text[0] == '-' || text[0] == '+' {
		digits = text[1:]
	}
	if !isNumber(digits) {
		return []byte("[Error] not a number, send one like 30\n")
	}
	if text[0] == '-' {
		return []byte("[Error] negative number, the smallest is 0\n")
	}
	n, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil || n > maxN {
		return []byte(fmt.Sprintf("[Error] number too large, the largest is %d\n", maxN))
	}
	return append(strconv.AppendUint(nil, fib(n), 10), '\n')
}

// lines cuts at LF or CR, as bufio.ScanLines cuts at LF.
func lines(data []byte, atEOF bool) (int, []byte, error) {
	if end := bytes.IndexAny(data, "\r\n"); end >= 0 {
		return end + 1, data[:end], nil
	}
	if len(data) > maxLine || atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

func handle(client net.Conn) {
	defer client.Close()
	scanner := bufio.NewScanner(client)
	scanner.Split(lines)
	scanner.Buffer(make([]byte, 1024), 1024)
	for scanner.Scan() {
		line := scanner.Bytes()
		if len(line) > maxLine {
			fmt.Fprintf(client, "[Error] line longer than %d bytes\n", maxLine)
			return
		}
		if text := bytes.TrimSpace(line); len(text) > 0 {
			if _, err := client.Write(reply(text)); err != nil {
				return // the client has gone
			}
		}
	}
}

func main() {
	port := flag.Int("port", 25000, "0 picks a free one")
	flag.Bool("quiet", false, "is accepted, for the stages have it")
	flag.Parse()
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-ended
		os.Exit(0)
	}()
	acceptor, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		fmt.Fprintf(os.Stderr, "go_net: %v; try --port 0\n", err)
		os.Exit(1)
	}
	fmt.Printf("go_net listening on %v\n", acceptor.Addr())
	for {
		client, err := acceptor.Accept()
		if err != nil {
			continue // it has gone again, or there are no descriptors: the next may succeed
		}
		go handle(client)
	}
}
