package disk

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The mode does not come from the umask: one that takes the owner's rights left a file
// that the next start could not read. The umask is the process's, so another one has it.
func TestSecretUnderAnyUmask(t *testing.T) {
	const name = "SECRET_DIR"
	if dir := os.Getenv(name); dir != "" {
		if _, err := Secret(dir); err != nil {
			t.Fatal(err)
		}
		return
	}
	dir := t.TempDir()
	cmd := exec.Command("sh", "-c", `umask 0777 && exec "$0" -test.run '^TestSecretUnderAnyUmask$'`, os.Args[0])
	cmd.Env = append(os.Environ(), name+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if info, err := os.Stat(filepath.Join(dir, secretFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
