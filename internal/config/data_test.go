package config

import (
	"strings"
	"testing"
)

// The commands for a store on disk take its directory from a flag or its variable, and
// want it; backup wants the place of the copy too.
func TestData(t *testing.T) {
	vars := env{"SESSIONHUB_DATA_DIR": "from/env", "SESSIONHUB_TO": "copy"}
	if d, err := ParseData(nil, vars.lookup); err != nil || d != (Data{Dir: "from/env"}) {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err := ParseBackup([]string{"--data-dir", "d"}, vars.lookup); err != nil || d != (Data{Dir: "d", To: "copy"}) {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := ParseBackup(nil, env{}.lookup); err == nil || !strings.Contains(err.Error(), "--data-dir: is not set") || !strings.Contains(err.Error(), "--to: is not set") {
		t.Errorf("nothing is set: %v", err)
	}
	if _, err := ParseData([]string{"--data-dir="}, env{}.lookup); err == nil || strings.Count(err.Error(), "--data-dir") != 1 {
		t.Errorf("an empty directory: %v", err)
	}
	if _, err := ParseData([]string{"--to", "x", "--data-dir", "d"}, env{}.lookup); err == nil || !strings.Contains(err.Error(), "--to: unknown flag") {
		t.Errorf("a flag of another command: %v", err)
	}
}
