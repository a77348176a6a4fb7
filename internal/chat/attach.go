package chat

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sessionhub/client"
	"sessionhub/protocol"
)

// attach adds a file to the session. The next message refers to it. Without a path, attach
// takes the files back that wait for the next message.
func (c *conversation) attach(ctx context.Context, path string) {
	if path == "" {
		c.notice = "/attach needs a path"
		if n := len(c.attached); n > 0 {
			c.notice = fmt.Sprintf("%d files taken back", n)
		}
		c.attached = nil
		return
	}
	if rest, home := strings.CutPrefix(path, "~/"); home {
		path = filepath.Join(c.o.Getenv("HOME"), rest)
	}
	c.attaching++
	c.wg.Go(func() {
		o := outcome{what: "attach " + oneLine(path, 200), upload: true}
		var a protocol.Attachment
		if a, o.err = upload(ctx, c.session.session, path); o.err == nil {
			o.attachment = &a
		}
		c.report(ctx, o)
	})
}

// upload adds the file at a path to a session.
func upload(ctx context.Context, s *client.Session, path string) (protocol.Attachment, error) {
	file, err := os.Open(path)
	if err != nil {
		return protocol.Attachment{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return protocol.Attachment{}, err
	}
	if !info.Mode().IsRegular() {
		return protocol.Attachment{}, errors.New("it is no file")
	}
	return s.AddAttachment(ctx, filepath.Base(path), "", file)
}

// attachedNow takes in how an upload ended.
func (c *conversation) attachedNow(o outcome) {
	c.attaching--
	if a := o.attachment; a != nil {
		c.attached = append(c.attached, *a)
		c.transcript.note(dim, "attached to the next message: "+attachmentText(a.Name, a.MediaType, a.Size))
	}
}

// attachmentText names an attachment for people.
func attachmentText(name, mediaType string, size int64) string {
	return fmt.Sprintf("%s (%s, %d bytes)", oneLine(name, 100), oneLine(mediaType, 60), size)
}

// content is a message as it is sent.
func (m unsent) content() []byte {
	if len(m.files) == 0 {
		return protocol.Marshal(m.text)
	}
	return client.AttachmentContent(m.text, m.files...)
}
