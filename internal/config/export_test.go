package config

import "testing"

func TestExportSettings(t *testing.T) {
	e, err := ParseExport([]string{"--hub", "wss://hub.example.org/base/", "s_1", "--format=json", "--output", "x.json"},
		chatEnv(map[string]string{"SESSIONHUB_TOKEN": "a.b.c", "SESSIONHUB_FORMAT": "markdown"}))
	if err != nil || e.Hub != "https://hub.example.org/base" || e.Session != "s_1" || e.Format != ExportJSON || e.Output != "x.json" || e.Token.Reveal() != "a.b.c" {
		t.Errorf("got %+v, %v", e, err)
	}
	want := DefaultExport()
	want.Session = "s_1"
	if e, err := ParseExport([]string{"s_1"}, chatEnv(nil)); err != nil || e != want {
		t.Errorf("nothing else given: %+v, %v", e, err)
	}
}
