package session

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"sessionhub/protocol"
)

// touch is an input that changes one field of the state, and tells nobody.
type touch struct{ field func(*State) reflect.Value }

func (in touch) apply(st *step) error {
	alter(in.field(st.s))
	return nil
}

// alter makes a value another one.
func alter(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Uint64:
		v.SetUint(v.Uint() + 1)
	case reflect.Uint8:
		v.SetUint(v.Uint() ^ 1)
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Pointer:
		other := reflect.New(v.Type().Elem()) // what it points to is shared
		alter(other.Elem())
		v.Set(other)
	case reflect.Map:
		other := reflect.MakeMap(v.Type()) // it is shared
		other.SetMapIndex(reflect.Zero(v.Type().Key()), reflect.Zero(v.Type().Elem()))
		v.Set(other)
	case reflect.Slice:
		v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(v.Interface().(time.Time).Add(time.Second)))
			return
		}
		alter(v.Field(0))
	default:
		panic("a field of a kind that the test does not know: " + v.Kind().String())
	}
}

// Whatever a rule writes into the state is stored, also where no event, command or
// note tells of it: a field that is new tomorrow, too.
func TestChangeOfEachFieldIsStored(t *testing.T) {
	full := &State{
		Messages: []OpenMessage{{ID: "m1", Command: 1}}, Live: []uint64{1}, Upload: &Upload{},
		Approvals: []PendingApproval{{Data: protocol.ToolApprovalData{InteractionID: "i1"}, Whole: &Whole{ReadBy: []string{"u1"}}}},
		Rules:     []Rule{{Kind: "k"}}, Revoked: []RevokedToken{{ID: "t1"}}, Tickets: []Ticket{{Hash: "h"}},
		Options: Options{Sent: []SentOption{{ConfigID: "mode", Command: 2}}},
	}
	fields := 0
	check := func(name string, field func(*State) reflect.Value) {
		fields++
		c, err := Step(full, touch{field}, DefaultPolicy, time.Unix(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		if !c.Stores() {
			t.Errorf("a change of %s is not stored", name)
		}
	}
	var walk func(name string, typ reflect.Type, field func(*State) reflect.Value)
	walk = func(name string, typ reflect.Type, field func(*State) reflect.Value) {
		check(name, field)
		switch {
		case typ.Kind() == reflect.Struct && typ != reflect.TypeFor[time.Time]():
			for i := range typ.NumField() {
				walk(name+"."+typ.Field(i).Name, typ.Field(i).Type, func(s *State) reflect.Value { return field(s).Field(i) })
			}
		case typ.Kind() == reflect.Slice && typ.Elem().Kind() == reflect.Struct && field(full).Len() > 0:
			walk(name+"[0]", typ.Elem(), func(s *State) reflect.Value { return field(s).Index(0) })
		}
	}
	typ := reflect.TypeFor[State]()
	for i := range typ.NumField() {
		walk(typ.Field(i).Name, typ.Field(i).Type, func(s *State) reflect.Value { return reflect.ValueOf(s).Elem().Field(i) })
	}
	if fields < typ.NumField()+20 {
		t.Errorf("only %d fields were tried", fields)
	}
	c, err := Step(full, InCancel{MessageID: "unknown"}, DefaultPolicy, time.Unix(1, 0))
	if err != nil || c.Stores() {
		t.Errorf("an input that changes nothing: %v, stores %v", err, c.Stores())
	}
}

// The comparison runs where an input changes nothing that anybody is told of. This is
// the most that a session's state holds.
func BenchmarkStepThatChangesNothing(b *testing.B) {
	s := &State{}
	for range 33 {
		s.Messages = append(s.Messages, OpenMessage{ID: "m"})
	}
	for range protocol.MaxOpenApprovals {
		s.Approvals = append(s.Approvals, PendingApproval{Data: protocol.ToolApprovalData{Input: json.RawMessage(make([]byte, 4096))}})
	}
	for range protocol.MaxRules {
		s.Rules = append(s.Rules, Rule{Kind: "execute", Hash: "0123456789abcdef"})
	}
	for range maxRevoked {
		s.Revoked = append(s.Revoked, RevokedToken{ID: "t", Until: time.Unix(1, 0)})
	}
	for b.Loop() {
		if c, err := Step(s, InCancel{MessageID: "unknown"}, DefaultPolicy, time.Unix(1, 0)); err != nil || c.Stores() {
			b.Fatal(err)
		}
	}
}
