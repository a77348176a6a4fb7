package docs_test

import (
	"fmt"
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
		protocol.Hello{}, protocol.ProviderDetails{}, protocol.HelloSession{}, protocol.HelloTurn{}, protocol.WorkerEvent{}, protocol.ApprovalContentData{}, protocol.Done{}, protocol.Release{}, protocol.Welcome{},
		protocol.Assign{}, protocol.WorkerCommand{}, protocol.MessageData{}, protocol.ApprovalCommand{}, protocol.CancelCommand{}, protocol.SteerCommand{}, protocol.SteeredData{}, protocol.AgentStartedData{},
		protocol.ElicitationCommand{},
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

// The limits on the page are those of the program.
func TestLimitsOfWorkersAreThoseOfTheCode(t *testing.T) {
	raw, err := os.ReadFile("WORKERS.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		fmt.Sprintf("a *name* has 1 to %d of them", protocol.MaxNameBytes),
		fmt.Sprintf("| `hello.workspace` | 1 to %d bytes", protocol.MaxWorkspaceBytes),
		fmt.Sprintf("| `hello.capacity` | 1 to %d |", protocol.MaxCapacity),
		fmt.Sprintf("| `hello.providers` | at most %d,", protocol.MaxProviders),
		fmt.Sprintf("| `hello.sessions` | at most %d,", protocol.MaxHelloSessions),
		fmt.Sprintf("| `hello.details` | at most %d bytes as JSON, of offered providers alone. `title` has at most %d bytes, `description` %d,",
			protocol.MaxDetailsBytes, protocol.MaxProviderTitle, protocol.MaxProviderDescription),
		fmt.Sprintf("URI of at most %d bytes", protocol.MaxProviderIcon),
		fmt.Sprintf("each list of modes has at most %d names", protocol.MaxProviderModes),
		fmt.Sprintf("| every `messageId` | at most %d characters", protocol.MaxMessageIDBytes),
		fmt.Sprintf("nested at most %d deep", protocol.MaxDataDepth),
		fmt.Sprintf("| `toolCallId` | 1 to %d bytes", protocol.MaxToolIDBytes),
		fmt.Sprintf("| 1 to %d; `optionId` has 1 to %d bytes", protocol.MaxApprovalOptions, protocol.MaxNameBytes),
		fmt.Sprintf("`kind` at most %d, `name` at most %d bytes", protocol.MaxNameBytes, protocol.MaxOptionName),
		fmt.Sprintf("are open in a session | %d, and %d MiB of data", protocol.MaxOpenApprovals, protocol.MaxOpenApprovalBytes>>20),
		fmt.Sprintf("`message` has at most %d KiB, `url` %d KiB", protocol.MaxElicitationMessage>>10, protocol.MaxElicitationURL>>10),
		fmt.Sprintf("| `agentSession` | at most %d bytes", protocol.MaxAgentSessionBytes),
		fmt.Sprintf("what is over %d bytes is cut", protocol.MaxReasonBytes),
		fmt.Sprintf("A session keeps %d \"always\" rules", protocol.MaxRules),
	} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("the page does not say: %s", want)
		}
	}
}
