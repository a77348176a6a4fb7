package wsconn

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// TestFrameBordersUnderStress lets several writers, the keepalive, the pongs and a close share one connection, and reads
// the bytes with a parser of its own. In the second case the close comes in the middle: what was accepted arrives whole,
// and nothing comes after the close frame.
func TestFrameBordersUnderStress(t *testing.T) { bothWays(t, testFrameBordersUnderStress) }

func testFrameBordersUnderStress(t *testing.T, read reader) {
	const writers, calls = 4, 150
	for _, early := range []bool{false, true} {
		t.Run(fmt.Sprintf("early=%v", early), func(t *testing.T) {
			accepted := make([]int, writers+1) // frames; the last is the echo's
			halfway := make(chan struct{})
			s := start(t, handlers{opts: Options{CloseWait: maxCloseWait}, ws: func(c *Conn) {
				var wg sync.WaitGroup
				var half sync.Once
				for w := range writers {
					wg.Go(func() {
						for n := 0; n < calls; n++ {
							var joined []byte
							frames := 1 + n%4
							for i := range frames {
								joined = append(joined, stressFrame(w, accepted[w]+i)...)
							}
							joined = append(joined, 0x89, 0) // the keepalive, joined as any frame
							if err := c.WriteFrames(joined); err != nil {
								if !early || !errors.Is(err, ErrClosing) {
									t.Errorf("writer %d: %v", w, err)
								}
								return
							}
							accepted[w] += frames
							if n == calls/2 {
								half.Do(func() { close(halfway) })
							}
						}
					})
				}
				var closer sync.WaitGroup
				closer.Go(func() {
					if early {
						<-halfway
					} else {
						wg.Wait()
					}
					if err := c.Close(4410, ""); err != nil {
						t.Error(err)
					}
				})
				for {
					_, _, err := read(c)
					if err != nil {
						break
					}
					if c.WriteFrames(stressFrame(writers, accepted[writers])) == nil {
						accepted[writers]++
					}
				}
				wg.Wait()
				closer.Wait()
			}})
			c := s.open(t)
			stop := make(chan struct{})
			var sender sync.WaitGroup
			sent, window := 0, make(chan struct{}, 16) // echoes that are due
			sender.Go(func() {
				for ; ; sent++ {
					select {
					case <-stop:
						return
					case window <- struct{}{}:
						c.send(masked(0x89, "p"+strconv.Itoa(sent)) + masked(0x81, "hello"))
					}
				}
			})
			got := make([]int, writers+1)
			pongs, last := 0, -1
			for {
				f, err := c.next()
				if err != nil {
					t.Fatal(err)
				}
				if f.op == opClose {
					if f.payload != closePayload(4410) {
						t.Errorf("close %q", f.payload)
					}
					break
				}
				switch f.op {
				case opPong:
					n, err := strconv.Atoi(strings.TrimPrefix(f.payload, "p"))
					if err != nil || n <= last {
						t.Fatalf("pong %q after %d", f.payload, last)
					}
					pongs, last = pongs+1, n
				case opText:
					from, _, _ := strings.Cut(f.payload, ":")
					w, err := strconv.Atoi(from)
					if err != nil || w > writers || f.payload != stressPayload(w, got[w]) {
						t.Fatalf("frame %.40q, want the %d. of its writer", f.payload, got[w])
					}
					got[w]++
					if w == writers {
						<-window
					}
				}
			}
			close(stop)
			sender.Wait()
			c.send(masked(0x88, closePayload(4410)))
			c.expectEOF()
			waitIdle(t, s.bridge)
			for w := range got {
				if got[w] != accepted[w] {
					t.Errorf("writer %d: %d frames were accepted, %d came", w, accepted[w], got[w])
				}
			}
			if !early && got[0] != calls/4*10+3 {
				t.Errorf("%d frames of a writer", got[0])
			}
			if pongs == 0 || last >= sent {
				t.Errorf("%d pongs, the last is %d of %d", pongs, last, sent)
			}
			t.Logf("%v frames, %d pongs for %d pings", got, pongs, sent)
		})
	}
}

// stressPayload has all three length encodings, and sizes around the library's buffers.
func stressPayload(writer, n int) string {
	sizes := [...]int{0, 1, 115, 119, 120, 121, 250, 5000, 126 * 11, 66_000}
	return fmt.Sprintf("%d:%d:", writer, n) + strings.Repeat(string(rune('a'+writer)), sizes[n%len(sizes)])
}

func stressFrame(writer, n int) []byte { return text(stressPayload(writer, n)) }
