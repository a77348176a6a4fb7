package storetest

import (
	"fmt"
	"strings"
	"time"

	"sessionhub/hub/store"
)

// patience is how long a letter may take on a busy machine.
const patience = 20 * time.Second

// mailbox collects the letters of one box.
type mailbox struct {
	*fixture
	name    string
	letters chan string
	stop    func()
}

// openBox opens a box, and waits until it gets mail.
func (f *fixture) openBox(name string) *mailbox {
	f.Helper()
	b := &mailbox{fixture: f, name: name, letters: make(chan string, 10_000)}
	b.stop = f.store.OpenBox(name, func(letter []byte) { b.letters <- string(letter) })
	for deadline := time.Now().Add(patience); ; {
		b.send("ready")
		select {
		case <-b.letters:
			b.send("from here on")
			for b.next() != "from here on" {
			}
			return b
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			f.Fatalf("the box %q gets no mail", name)
		}
	}
}

func (b *mailbox) send(letter string) {
	b.Helper()
	if err := b.store.SendMail(b.ctx, b.name, []byte(letter)); err != nil {
		b.Fatalf("send mail to %q: %v", b.name, err)
	}
}

func (b *mailbox) next() string {
	b.Helper()
	select {
	case letter := <-b.letters:
		return letter
	case <-time.After(patience):
		b.Fatalf("no letter in the box %q", b.name)
		return ""
	}
}

func (b *mailbox) wantNone() {
	b.Helper()
	select {
	case letter := <-b.letters:
		b.Errorf("%.40q in the box %q", letter, b.name)
	case <-time.After(100 * time.Millisecond):
	}
}

func testMail(f *fixture) {
	one, other := f.openBox("node:one"), f.openBox("node:one }{ ü:box")
	for i := range 200 {
		one.send(fmt.Sprint(i))
	}
	for i := range 200 {
		if got := one.next(); got != fmt.Sprint(i) {
			f.Fatalf("letter %d is %.40q", i, got)
		}
	}
	one.wantNone()
	other.wantNone()
	other.send("hello")
	if got := other.next(); got != "hello" {
		f.Errorf("the other box has %.40q", got)
	}
	largest := strings.Repeat("\x00\xff\n{}", store.MaxLetter/5)
	one.send(largest)
	if got := one.next(); got != largest {
		f.Errorf("a letter of %d bytes came as %d", len(largest), len(got))
	}
	one.stop()
	one.send("to nobody")
	one.wantNone()
	other.send("still open")
	if got := other.next(); got != "still open" {
		f.Errorf("the other box has %.40q", got)
	}
	other.stop()
}

// Two boxes of one name get the same mail, as two nodes would that took the same name.
func testMailTwice(f *fixture) {
	a := f.openBox("twice")
	b := f.openBox("twice")
	b.send("last")
	for a.next() != "last" {
	}
	if got := b.next(); got != "last" {
		f.Errorf("the second box has %q", got)
	}
	a.stop()
	b.send("again")
	if got := b.next(); got != "again" {
		f.Errorf("the second box has %q after the first was closed", got)
	}
	a.wantNone()
	b.stop()
}
