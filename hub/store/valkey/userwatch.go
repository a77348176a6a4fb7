package valkey

import (
	"strings"

	"sessionhub/hub/store"
)

// userTopic begins the names of users among the watched sessions.
//
// A user's sessions lie on all primaries of a cluster, and a script may use sharded channels
// of its own session's hash slot alone. So a user's notices go by PUBLISH, which a cluster
// brings to all its servers. The relay still subscribes at each primary. It then hears a
// change from the server that stored it, or finds that its connection to that server broke.
// The copies of the other servers are dropped.
const userTopic = topicMark + "user:"

func isUser(topic string) bool { return strings.HasPrefix(topic, userTopic) }

// userChannel is the channel of a user's notices. It is no sharded channel: see userTopic.
func (c *calls) userChannel(user string) string { return c.opt.Prefix + "user:" + user }

// userWatcher is a store.UserWatcher.
type userWatcher struct {
	*calls
	relay *relay
}

// WatchUser implements store.UserWatcher. It returns before the subscriptions are made. Each
// of them gives Lost, once it is made and after each break.
func (u *userWatcher) WatchUser(user string, notify func(store.UserNotice)) func() {
	var copies copies
	return u.relay.watch(userTopic+user, func(n store.Notice) {
		if len(n.Entries) == 0 {
			notify(store.UserNotice{Lost: true})
			return
		}
		if message := string(n.Entries[0].Tail); !copies.have(message) {
			notify(parseUserNotice(message))
		}
	})
}

// maxCopies is how many messages of a user are remembered. It takes more than the copies
// that are under way: a copy that is not known for one costs a read of its session.
const maxCopies = 64

// copies knows the last messages of a user. Every message has a version or a random word,
// so equal messages are copies. Not for concurrent use.
type copies struct {
	last [maxCopies]string
	next int
}

// have reports whether the message came already, and remembers it.
func (c *copies) have(message string) bool {
	for _, m := range c.last {
		if m == message {
			return true
		}
	}
	c.last[c.next] = message
	c.next = (c.next + 1) % maxCopies
	return false
}

// parseUserNotice reads a message of a user's channel: "s version epoch channel" for a
// session, and "a version" for the account. A message that a newer node may send stands
// for any change.
func parseUserNotice(message string) store.UserNotice {
	kind, rest, _ := strings.Cut(message, " ")
	switch kind {
	case "s":
		// The session's channel comes last. Ids have no space and no brace.
		if _, id, ok := strings.Cut(rest, "{"); ok {
			return store.UserNotice{Session: strings.TrimSuffix(id, "}")}
		}
	case "a":
		return store.UserNotice{Account: true}
	}
	return store.UserNotice{Lost: true}
}
