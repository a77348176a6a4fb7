package known

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"sessionhub/protocol"
	"sessionhub/worker"
)

// Found is what is on this machine of a known agent.
type Found struct {
	Agent
	Path    string // of the program; empty: none that may be used
	Version string // empty: not known
	Refused string // why a program of this name is not used; set only without a Path
	HasCLI  string // path of the vendor's own program; set only without a Path

	Login   protocol.Login
	LoginBy string // the name of the variable, or the file, that shows the login
	LogIn   string // what a person can do to log in
}

const (
	// maxPathEntries bounds the entries of PATH that are looked through.
	maxPathEntries = 4096
	// maxPackageJSON bounds what is read of a package.json, in bytes.
	maxPackageJSON = 1 << 20
	// maxPackageDepth is how far above a program its package.json may be.
	maxPackageDepth = 5
)

var plainVersion = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+-]{0,63}$`)

// Look looks for each known agent in the PATH of environ, which is in the form of
// os.Environ. root is the workspace root, in which sessions lie.
//
// Only absolute entries of PATH count, and only regular files that this user may execute. A
// program in the workspace root is not used, since a session could have put it there. If the
// root holds the home directory, only what lies outside of the home directory is refused for
// that: people install programs in their home.
func Look(environ []string, root string) []Found {
	p := place{env: variables(environ)}
	p.root = real(root)
	p.home = real(p.env["HOME"])
	dirs := p.searched()
	var all []Found
	for _, a := range Agents() {
		f := Found{Agent: a, LogIn: a.login.command}
		f.Path, f.Refused = p.find(a.Provider.Command, dirs)
		if f.Path != "" {
			f.Version = version(f.Path, a.Packages)
			f.Login, f.LoginBy = p.login(a.login)
		} else if a.Vendor != "" {
			f.HasCLI, _ = p.find(a.Vendor, dirs)
		}
		all = append(all, f)
	}
	return all
}

// Providers are the agents that were found, ready to be offered. Each starts the program that
// was found, whatever PATH says later.
func Providers(all []Found) map[string]worker.Provider {
	providers := make(map[string]worker.Provider)
	for _, f := range all {
		if f.Path != "" {
			p := f.Provider
			p.Command, p.Login = f.Path, f.Login
			providers[f.Name] = p
		}
	}
	return providers
}

// place is where is looked.
type place struct {
	env        map[string]string
	root, home string // without links; empty: none
}

// variables reads an environment. Of two variables with one name the last counts.
func variables(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			env[name] = value
		}
	}
	return env
}

// real is an absolute path without links, as far as it is there.
func real(path string) string {
	if path == "" {
		return ""
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return ""
	}
	if resolved, err := filepath.EvalSymlinks(abs); err == nil {
		return resolved
	}
	return abs
}

// searched are the entries of PATH that count, each once. A relative entry means another
// directory for each session, so it never counts. Nor does an empty one.
func (p place) searched() []string {
	var dirs []string
	seen := make(map[string]bool)
	for _, dir := range filepath.SplitList(p.env["PATH"]) {
		if dir = filepath.Clean(dir); !filepath.IsAbs(dir) || seen[dir] {
			continue
		}
		seen[dir] = true
		if dirs = append(dirs, dir); len(dirs) == maxPathEntries {
			break
		}
	}
	return dirs
}

// find returns the first program of the name that may be used. Without one, refused says why
// the first of the others may not.
func (p place) find(name string, dirs []string) (path, refused string) {
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		why := p.check(path)
		if why == "" {
			return path, ""
		}
		if refused == "" && why != absent {
			refused = path + ": " + why
		}
	}
	return "", refused
}

// absent is what check says of a file that is not there.
const absent = "absent"

// check says why the program may not be used, or nothing.
func (p place) check(path string) string {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid):
		return absent
	case err != nil:
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err // without the path, which is said before
		}
		if _, lerr := os.Lstat(path); lerr != nil {
			return absent // it is the directory that cannot be read, or is none
		}
		return err.Error()
	case !info.Mode().IsRegular():
		return "is no regular file"
	}
	if _, err := exec.LookPath(path); err != nil {
		return "is not executable"
	}
	if p.ofSessions(path) {
		return "lies in the workspace, where sessions can change it"
	}
	return ""
}

// ofSessions reports whether sessions could have put the program there: it, or what it links
// to, lies in the workspace root.
func (p place) ofSessions(path string) bool {
	if p.root == "" {
		return false
	}
	trusted := func(path string) bool {
		if !below(p.root, path) {
			return true
		}
		return p.home != "" && below(p.root, p.home) && below(p.home, path)
	}
	return !trusted(filepath.Join(real(filepath.Dir(path)), filepath.Base(path))) || !trusted(real(path))
}

// below reports whether path is dir or lies in it. Both are clean and absolute.
func below(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// login looks for a sign of a login. Its answer is a name, never a value.
func (p place) login(l login) (protocol.Login, string) {
	for _, name := range l.variables {
		if p.env[name] != "" {
			return protocol.LoginFound, name
		}
	}
	for _, f := range l.files {
		path := p.env[f.variable]
		if f.variable == "" || path == "" {
			if p.env["HOME"] == "" {
				continue
			}
			path = filepath.Join(p.env["HOME"], f.below)
		}
		path = filepath.Join(path, f.name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			return protocol.LoginFound, path
		}
	}
	if l.keychain && runtime.GOOS == "darwin" {
		return "", ""
	}
	return protocol.LoginMissing, ""
}

// version reads the version from the package.json of the npm package that has the program.
func version(program string, packages []string) string {
	dir := filepath.Dir(real(program))
	for range maxPackageDepth {
		var about struct{ Name, Version string }
		if readJSON(filepath.Join(dir, "package.json"), &about) == nil && slices.Contains(packages, about.Name) {
			if plainVersion.MatchString(about.Version) {
				return about.Version
			}
			return ""
		}
		dir = filepath.Dir(dir)
	}
	return ""
}

func readJSON(path string, v any) error {
	info, err := os.Stat(path) // before the open, which waits for the other end of a pipe
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fs.ErrInvalid
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxPackageJSON))
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, v)
}
