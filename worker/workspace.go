package worker

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// ErrWorkingDirectory says that a session's directory was refused. The error that wraps it
// says why, and may be shown to the user.
var ErrWorkingDirectory = errors.New("working directory not allowed")

// maxPathBytes is Linux's PATH_MAX.
const maxPathBytes = 4096

// ResolveDir returns the real path of a session's working directory. dir is absolute or
// relative to Root ("" is Root itself); its links are resolved. It must be an existing
// directory in Root. Every refusal wraps ErrWorkingDirectory.
//
// A path that is outside by its text alone is refused without a read of the disk. So nobody
// can find out which files exist there. The answer holds for the moment: a user who can
// write in Root can later replace a directory by a link. Such a user could as well tell the
// agent to go there.
func (c Config) ResolveDir(dir string) (string, error) {
	switch {
	case len(dir) > maxPathBytes:
		return "", fmt.Errorf("%w: the path is longer than %d bytes", ErrWorkingDirectory, maxPathBytes)
	case hasNUL(dir):
		return "", fmt.Errorf("%w: the path has a NUL byte", ErrWorkingDirectory)
	case !utf8.ValidString(dir):
		return "", fmt.Errorf("%w: the path is not valid UTF-8", ErrWorkingDirectory)
	}
	root, err := filepath.Abs(c.Root)
	if err != nil {
		return "", fmt.Errorf("resolve workspace root: %w", err)
	}
	realRoot, err := filepath.EvalSymlinks(root)
	if err != nil {
		return "", fmt.Errorf("resolve workspace root: %w", err)
	}
	path := filepath.Clean(dir)
	if dir == "" {
		path = realRoot
	} else if !filepath.IsAbs(path) {
		path = filepath.Join(realRoot, path)
	}
	if !within(root, path) && !within(realRoot, path) {
		return "", fmt.Errorf("%w: %q is outside the workspace", ErrWorkingDirectory, dir)
	}
	real, err := filepath.EvalSymlinks(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%w: %q does not exist", ErrWorkingDirectory, dir)
	case err != nil:
		return "", fmt.Errorf("%w: %q cannot be resolved", ErrWorkingDirectory, dir)
	case !within(realRoot, real):
		return "", fmt.Errorf("%w: %q leads outside the workspace", ErrWorkingDirectory, dir)
	}
	info, err := os.Stat(real)
	if err != nil {
		return "", fmt.Errorf("%w: %q cannot be read", ErrWorkingDirectory, dir)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%w: %q is not a directory", ErrWorkingDirectory, dir)
	}
	return real, nil
}

// realPath is the absolute path of a directory that may not be there yet, without links.
func realPath(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	rest := ""
	for at := dir; ; at = filepath.Dir(at) {
		if real, err := filepath.EvalSymlinks(at); err == nil || at == filepath.Dir(at) {
			return filepath.Join(real, rest), err
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}

// within reports whether the clean path lies in the clean directory root.
func within(root, path string) bool {
	if path == root {
		return true
	}
	prefix := strings.TrimSuffix(root, string(filepath.Separator)) + string(filepath.Separator)
	return strings.HasPrefix(path, prefix)
}

// workspaceID names the file system that agents below root see. A session that has run in
// one must not go on in another. It is a hash, since it goes to other machines.
func workspaceID(root string) string {
	machine := "unknown"
	if id, err := os.ReadFile("/etc/machine-id"); err == nil && len(strings.TrimSpace(string(id))) > 0 {
		machine = strings.TrimSpace(string(id))
	} else if host, err := os.Hostname(); err == nil {
		machine = host
	}
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	sum := sha256.Sum256([]byte(machine + "\x00" + root))
	return hex.EncodeToString(sum[:8])
}
