//go:build unix

package disk

import (
	"net"
	"os"
	"path/filepath"
)

// maxSocketPath is the longest path of a socket that every system takes, in bytes. Linux
// takes 107, macOS 103.
const maxSocketPath = 100

// listenControl makes the socket in a locked directory, and replaces one that a killed
// process has left. The socket gets its name only once nobody else may connect to it.
func listenControl(dir string) (net.Listener, error) {
	private := filepath.Join(dir, controlSocket+".new")
	if err := os.RemoveAll(private); err != nil {
		return nil, err
	}
	if err := os.Mkdir(private, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(private)
	var listener *net.UnixListener
	err := atShortPath(private, func(path string) (err error) {
		listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	err = os.Chmod(filepath.Join(private, controlSocket), 0o600)
	if err == nil {
		err = os.Rename(filepath.Join(private, controlSocket), filepath.Join(dir, controlSocket))
	}
	if err != nil {
		_ = listener.Close()
		return nil, err
	}
	return listener, nil
}

// removeControl removes the socket. A killed process leaves it.
func removeControl(dir string) { _ = os.Remove(filepath.Join(dir, controlSocket)) }

func dialControl(dir string) (conn net.Conn, err error) {
	err = atShortPath(dir, func(path string) (err error) {
		conn, err = net.Dial("unix", path)
		return err
	})
	return conn, err
}

// atShortPath calls do with a path of the socket that is short enough. If the socket's own
// directory is too long, the path leads over a link that exists while do runs.
func atShortPath(dir string, do func(path string) error) error {
	path := filepath.Join(dir, controlSocket)
	if len(path) <= maxSocketPath {
		return do(path)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	place, err := os.MkdirTemp("", "sessionhub-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(place)
	link := filepath.Join(place, "d")
	if err := os.Symlink(dir, link); err != nil {
		return err
	}
	return do(filepath.Join(link, controlSocket))
}
