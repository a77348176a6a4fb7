package wsconn

import "time"

// A paced client may send a burst. After that, each frame costs it time. A frame that ends a message, or that asks for
// an answer, costs the hub far more than a fragment does, whatever their size.
const (
	paceBurst    = time.Second            // the most that may be owed: 500 messages, or 5,000 fragments
	messageCost  = 2 * time.Millisecond   // of a control frame, or the last frame of a message: 500 a second
	fragmentCost = 200 * time.Microsecond // of another frame: 5,000 a second
	// paceNap is how soon a connection that is held back notices that it is closing.
	paceNap = 50 * time.Millisecond
)

// Pace limits the bytes and the frames (see the constants) that are read from the client in a second. Without it, a
// client that floods the hub would take the processor from all others. Frames that come too fast wait in the kernel's
// buffers, and then at the client. Nothing is lost, and no client is cut off. Call Pace before the first Read or Next.
func (c *Conn) Pace(bytesPerSecond int) { c.bytesPerSecond = int64(bytesPerSecond) }

// charge notes that bytes, and frames of a cost, were read.
func (c *Conn) charge(bytes int, frames time.Duration) {
	if c.bytesPerSecond == 0 || bytes == 0 {
		return
	}
	cost := int64(frames) + int64(bytes)*int64(time.Second)/c.bytesPerSecond
	c.paid.Store(max(c.paid.Load(), time.Now().UnixNano()) + cost)
}

// ahead is how long the client must wait before more is read from it. If it is not positive, reading may go on.
func (c *Conn) ahead() time.Duration {
	if c.bytesPerSecond == 0 {
		return 0
	}
	return time.Duration(c.paid.Load()-time.Now().UnixNano()) - paceBurst
}

// keepPace waits until more may be read.
func (c *Conn) keepPace() {
	for !c.closing.Load() {
		wait := c.ahead()
		if wait <= 0 {
			return
		}
		time.Sleep(min(wait, paceNap))
	}
}
