package valkey

import (
	"context"
	"net/url"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// boxTopic begins the names of boxes among the watched sessions. The name behind it is
// escaped: it stands in a hash tag.
const boxTopic = topicMark + "box:"

func boxOf(name string) string { return boxTopic + url.QueryEscape(name) }

// mail is a store.Mail: a message of the server's for each letter. A node that has no
// connection to the box's server misses the letters of that time.
type mail struct {
	*calls
	relay *relay
}

// SendMail implements store.Mail.
func (m *mail) SendMail(ctx context.Context, box string, letter []byte) error {
	call, cancel := m.deadline(ctx)
	defer cancel()
	channel, text := m.channel(boxOf(box)), valkey.BinaryString(letter)
	command := m.client.B().Publish().Channel(channel).Message(text).Build()
	if m.publish == "SPUBLISH" {
		command = m.client.B().Spublish().Channel(channel).Message(text).Build()
	}
	if err := m.client.Do(call, command).Error(); err != nil {
		return m.unavailable(ctx, "send_mail", "send mail to "+box, err)
	}
	return nil
}

// OpenBox implements store.Mail.
func (m *mail) OpenBox(box string, deliver func([]byte)) func() {
	return m.relay.watch(boxOf(box), func(n store.Notice) {
		for _, e := range n.Entries { // none: the subscription was made, or made again
			deliver(e.Tail)
		}
	})
}

// noticeOf wraps a letter for the watchers of its box.
func noticeOf(letter string) store.Notice {
	return store.Notice{Entries: []protocol.Entry{{Tail: []byte(letter)}}}
}
