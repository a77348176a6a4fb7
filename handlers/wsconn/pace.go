package wsconn

import "time"

// What a client may send to a paced connection: so much at once, and then as fast as it is paid for with time. A frame
// that ends a message, or that asks for an answer, costs the hub far more than a fragment does, whatever their size.
const (
	paceBurst    = time.Second            // that may be owed: 500 messages, or 5,000 fragments
	messageCost  = 2 * time.Millisecond   // of a control frame, or the last of a message: 500 a second
	fragmentCost = 200 * time.Microsecond // of another frame: 5,000 a second
	// paceNap is how soon a connection that is held back notices that it is closing.
	paceNap = 50 * time.Millisecond
)

// Pace has the client read no faster than so many bytes a second, and so many frames (see the constants), for one that
// floods the hub would take the processor from all others. What it sends too fast waits in the kernel's buffers, and
// then at the client; nothing is lost, and nobody is cut off. Call it before the first Read or Next.
func (c *Conn) Pace(bytesPerSecond int) { c.bytesPerSecond = int64(bytesPerSecond) }

// charge notes what was read: so many bytes, and frames of a cost.
func (c *Conn) charge(bytes int, frames time.Duration) {
	if c.bytesPerSecond == 0 || bytes == 0 {
		return
	}
	cost := int64(frames) + int64(bytes)*int64(time.Second)/c.bytesPerSecond
	c.paid.Store(max(c.paid.Load(), time.Now().UnixNano()) + cost)
}

// ahead is how long the client is to wait before more is read from it; not positive: it may go on.
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
