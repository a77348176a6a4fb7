package app

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The image keeps sessions in /data, unless a setting says where they are.
func TestEntryPointOfTheImage(t *testing.T) {
	script, err := filepath.Abs("../../deploy/entrypoint.sh")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	program := "#!/bin/sh\necho \"${SESSIONHUB_DATA_DIR-unset} $*\"\n"
	if err := os.WriteFile(filepath.Join(bin, "sessionhub"), []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		env, args []string
		want      string
	}{
		{nil, []string{"serve", "--listen", "0.0.0.0:8080"}, "/data serve --listen 0.0.0.0:8080"},
		{[]string{"SESSIONHUB_API_KEY=k"}, []string{"serve"}, "/data serve"},
		{[]string{"SESSIONHUB_DATA_DIR=/elsewhere"}, []string{"serve"}, "/elsewhere serve"},
		{[]string{"SESSIONHUB_DATA_DIR="}, []string{"serve"}, " serve"}, // in memory
		{[]string{"SESSIONHUB_VALKEY_URL=redis://v"}, []string{"serve"}, "unset serve"},
		{[]string{"SESSIONHUB_VALKEY_URL_FILE=/v"}, []string{"serve"}, "unset serve"},
		{[]string{"SESSIONHUB_CONFIG=/c"}, []string{"serve"}, "unset serve"},
		{nil, []string{"serve", "--valkey-url=redis://v"}, "unset serve --valkey-url=redis://v"},
		{nil, []string{"serve", "--valkey-url-file", "/v"}, "unset serve --valkey-url-file /v"},
		{nil, []string{"serve", "--data-dir", "/d"}, "unset serve --data-dir /d"},
		{nil, []string{"serve", "--config", "/c"}, "unset serve --config /c"},
		{nil, []string{"worker", "--hub", "ws://h"}, "unset worker --hub ws://h"},
		{nil, []string{"backup", "--data-dir", "/data", "--to", "/b"}, "unset backup --data-dir /data --to /b"},
		{nil, nil, "unset "},
	} {
		cmd := exec.Command(script, c.args...)
		cmd.Env = append([]string{"PATH=" + bin + ":" + os.Getenv("PATH")}, c.env...)
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSuffix(string(out), "\n"); err != nil || got != c.want {
			t.Errorf("%v %v: %q, %v; want %q", c.env, c.args, got, err, c.want)
		}
	}
	// What the image starts by itself is of that kind.
	image, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`COPY deploy/entrypoint.sh /usr/local/bin/sessionhub-entrypoint`, `ENTRYPOINT ["tini", "--", "sessionhub-entrypoint"]`,
		`VOLUME /data`, `CMD ["serve", `,
	} {
		if !strings.Contains(string(image), "\n"+line) {
			t.Errorf("the Dockerfile lacks %s", line)
		}
	}
}
