package wsconn

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// BenchmarkWrite compares the ways of one 200-byte event to a client on the loopback that reads all the time, and of ten
// joined ones. The system call is nearly all of it.
func BenchmarkWrite(b *testing.B) {
	payload := strings.Repeat("e", 196)
	one := text(payload)
	ten := []byte(strings.Repeat(string(one), 10))
	b.Run("net.Conn", func(b *testing.B) {
		near := loopback(b)
		run(b, len(one), func() error { _, err := near.Write(one); return err })
	})
	b.Run("Socket", func(b *testing.B) {
		sock := new(Socket)
		if err := sock.bind(loopback(b), nil, Options{}.withDefaults()); err != nil {
			b.Fatal(err)
		}
		run(b, len(one), func() error { _, err := sock.Write(one); return err })
	})
	b.Run("WriteFrames", func(b *testing.B) {
		conn := benchConn(b)
		run(b, len(one), func() error { return conn.WriteFrames(one) })
	})
	b.Run("WriteFrames/ten joined", func(b *testing.B) {
		conn := benchConn(b)
		run(b, len(ten), func() error { return conn.WriteFrames(ten) })
	})
	b.Run("coder", func(b *testing.B) {
		conn, event := libraryConn(b), []byte(payload)
		run(b, len(one), func() error { return conn.Write(context.Background(), websocket.MessageText, event) })
	})
}

func run(b *testing.B, size int, write func() error) {
	b.ReportAllocs()
	b.SetBytes(int64(size))
	for b.Loop() {
		if err := write(); err != nil {
			b.Fatal(err)
		}
	}
}

// loopback is a TCP connection whose other end discards everything.
func loopback(b *testing.B) net.Conn {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	near, err := ln.Accept()
	if err != nil {
		b.Fatal(err)
	}
	if err := near.(*net.TCPConn).SetWriteBuffer(64 << 10); err != nil { // as a Socket has it
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, readerOnly{far}, make([]byte, 256<<10))
	}()
	b.Cleanup(func() {
		_ = near.Close()
		<-done
		_ = far.Close()
	})
	return near
}

func benchConn(b *testing.B) *Conn {
	b.Helper()
	conn, _, err := accept(pipeRequest(), nil, 1<<20, Options{}.withDefaults())
	if err != nil {
		b.Fatal(err)
	}
	if err := conn.sock.bind(loopback(b), nil, Options{}.withDefaults()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(conn.release)
	return conn
}

// libraryConn is the library as it would be used without this package: its own writes on the bare connection.
func libraryConn(b *testing.B) *websocket.Conn {
	b.Helper()
	conn, err := websocket.Accept(&bareWriter{conn: loopback(b)}, pipeRequest(), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

type bareWriter struct {
	recorder
	conn net.Conn
}

func (w *bareWriter) Header() http.Header {
	if w.header == nil {
		w.header = make(http.Header)
	}
	return w.header
}

func (w *bareWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}
