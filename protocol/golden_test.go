package protocol

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/*.json anew from the structs")

// golden is one message with every field filled. Its file holds the JSON as it
// goes over the wire.
type golden struct {
	name  string
	value any    // one of this package's structs
	wire  []byte // when the message has an encoder of its own; else value is marshalled
}

func goldens() []golden {
	all := append(goldenEvents(), goldenControls()...)
	all = append(all, goldenCommands()...)
	all = append(all, goldenFrames()...)
	all = append(all, goldenElicitations()...)
	return append(all, goldenBodies()...)
}

func TestGolden(t *testing.T) {
	for _, g := range goldens() {
		t.Run(g.name, func(t *testing.T) {
			wire := g.wire
			if wire == nil {
				wire = Marshal(g.value)
			}
			path := filepath.Join("testdata", g.name+".json")
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, wire, "", "  "); err != nil {
				t.Fatalf("the message is no JSON: %v: %s", err, wire)
			}
			pretty.WriteByte('\n')
			if *update {
				if err := os.WriteFile(path, pretty.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("%v (go test ./protocol -update writes it)", err)
			}
			if !bytes.Equal(pretty.Bytes(), want) {
				t.Errorf("got\n%s\nwant\n%s\n(go test ./protocol -update accepts it)", pretty.Bytes(), want)
			}
			if bytes.ContainsAny(wire, "\r\n") {
				t.Errorf("a line break in %q: it cannot stand in an SSE line", wire)
			}

			// A reader with this package gets back what was sent.
			back := reflect.New(reflect.TypeOf(g.value))
			if err := Decode(want, back.Interface()); err != nil {
				t.Fatal(err)
			}
			// RawMessages keep the file's indentation: compare what they say.
			if again := Marshal(back.Elem().Interface()); !sameJSON(again, Marshal(g.value)) {
				t.Errorf("decoded and encoded again:\n%s\nwant\n%s", again, Marshal(g.value))
			}
		})
	}
}

// A message that gets no golden file would go unnoticed: each file has its
// message and each closed set its files.
func TestGoldenFilesAreComplete(t *testing.T) {
	have := make(map[string]bool)
	for _, g := range goldens() {
		if have[g.name] {
			t.Errorf("%s is there twice", g.name)
		}
		have[g.name] = true
	}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f), ".json"); !have[name] {
			t.Errorf("%s belongs to no message", f)
		}
	}
	for _, e := range EventTypes {
		if !have["event_"+string(e)] {
			t.Errorf("no golden file for the event %s", e)
		}
	}
	for _, c := range CommandTypes {
		if !have["command_"+string(c)] {
			t.Errorf("no golden file for the command %s", c)
		}
	}
	for _, c := range []ControlType{ControlConnected, ControlCaughtUp, ControlGap, ControlExpiring, ControlDraining, ControlListed, ControlUnlisted, ControlListComplete} {
		if !have["control_"+string(c)] {
			t.Errorf("no golden file for the control frame %s", c)
		}
	}
	for _, f := range []FrameType{
		FrameHello, FrameEvent, FrameDone, FrameRelease, FramePong,
		FrameWelcome, FrameAssign, FrameCommand, FrameAck, FrameRevoke, FrameError, FramePing, FrameAttachment, FrameProviders,
	} {
		if !have["worker_"+string(f)] {
			t.Errorf("no golden file for the worker frame %s", f)
		}
	}
}

// Every field of every golden struct is filled in one of its messages, or a renamed one
// could hide. Messages of earlier versions stay as they are, so none has all.
func TestGoldenStructsAreFilled(t *testing.T) {
	empty := make(map[reflect.Type]map[string]bool) // fields that no message has
	for _, g := range goldens() {
		if strings.HasSuffix(g.name, "_least") {
			continue // what a message has at the least
		}
		v := reflect.ValueOf(g.value)
		fields := empty[v.Type()]
		if fields == nil {
			fields = make(map[string]bool)
			empty[v.Type()] = fields
			for f := range v.Type().Fields() {
				fields[f.Name] = true
			}
		}
		for i := range v.NumField() {
			if !v.Field(i).IsZero() {
				delete(fields, v.Type().Field(i).Name)
			}
		}
	}
	for kind, fields := range empty {
		for name := range fields {
			t.Errorf("%s.%s is filled in no message", kind.Name(), name)
		}
	}
}

func sameJSON(a, b []byte) bool {
	var x, y any
	return decodeNumbers(a, &x) == nil && decodeNumbers(b, &y) == nil && reflect.DeepEqual(x, y)
}

func decodeNumbers(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d.Decode(v)
}
