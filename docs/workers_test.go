package docs_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// The page for those who write workers has every frame, field, command and code.
func TestWorkerFramesAreDocumented(t *testing.T) {
	raw, err := os.ReadFile("WORKERS.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	src := readSource(t)
	rows := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(page, -1)
	var documented []string
	for _, row := range rows {
		documented = append(documented, row[1])
	}
	var coded []string
	coded = append(coded, src.consts["FrameType"]...)
	coded = append(coded, src.consts["WorkerCommandType"]...)
	coded = append(coded, protocol.LinkHole, protocol.LinkForbidden, protocol.LinkInvalid, protocol.LinkTooLarge,
		protocol.LinkSilent, protocol.LinkReplaced, protocol.LinkUnauthorized, protocol.LinkDraining, protocol.LinkInternal)
	same(t, "rows", documented, coded)
	for _, body := range []any{
		protocol.Hello{}, protocol.HelloSession{}, protocol.HelloTurn{}, protocol.WorkerEvent{}, protocol.Done{}, protocol.Release{}, protocol.Welcome{},
		protocol.Assign{}, protocol.WorkerCommand{}, protocol.MessageData{}, protocol.ApprovalCommand{}, protocol.CancelCommand{},
		protocol.EventAck{}, protocol.Revoke{}, protocol.LinkError{},
	} {
		kind := reflect.TypeOf(body)
		for f := range kind.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !regexp.MustCompile("[{ `]" + name + "[?,}`.]").MatchString(page) {
				t.Errorf("%s.%s is not on the page", kind.Name(), name)
			}
		}
	}
	for _, reason := range []string{
		protocol.ReleaseIdle, protocol.ReleaseClosed, protocol.ReleaseDraining, protocol.ReleaseDrained, protocol.ReleaseOverCapacity,
		protocol.ReleaseNotRun, protocol.ReleaseWorkingDirectory, protocol.ReleaseUnknownProvider,
	} {
		if !strings.Contains(page, "`"+reason+"`") {
			t.Errorf("the release %q is not on the page", reason)
		}
	}
}
