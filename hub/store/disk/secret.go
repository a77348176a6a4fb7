package disk

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	secretFile = "token-secret"
	secretMode = 0o600
)

// Secret returns the secret that signs a hub's tokens, from a file in the store's
// directory. It makes the secret if there is none, so tokens outlive a restart. The file is
// for its owner alone. The caller must have the directory's store open, so that no other
// process makes a secret too.
func Secret(dir string) (string, error) {
	return (&directory{fs: vfs.Default, dir: dir}).secret()
}

func (d *directory) secret() (string, error) {
	path := filepath.Join(d.dir, secretFile)
	b, err := os.ReadFile(path)
	if err == nil {
		if text := strings.TrimSpace(string(b)); len(text) >= 32 {
			return text, nil
		}
		return "", fmt.Errorf("%s holds no secret of at least 32 bytes: put it back, or remove it, which ends all tokens", path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", explain(err)
	}
	secret := rand.Text() + rand.Text() // 260 bits
	err = writeSecret(path, secret+"\n")
	if err == nil {
		err = d.syncDir(d.dir) // else a power cut loses the file, and the tokens that it has signed
	}
	if err != nil {
		return "", explain(err)
	}
	return secret, nil
}

// writeSecret puts a whole file in its place, for its owner alone.
func writeSecret(path, text string) error {
	if err := writePrivate(path+".new", text); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// writePrivate makes a file for its owner alone, on the disk. It first removes a file of
// that name that a crash has left, with its mode and its other links.
func writePrivate(path, text string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, secretMode)
	if err != nil {
		return err
	}
	err = f.Chmod(secretMode) // the umask can have removed the owner's rights
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
