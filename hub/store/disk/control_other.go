//go:build !unix

package disk

import (
	"errors"
	"fmt"
	"net"
)

// Without Unix, a file mode keeps nobody away from a socket.
var errNoSocket = fmt.Errorf("a running node takes no orders on this system: end it first (%w)", errors.ErrUnsupported)

func listenControl(string) (net.Listener, error) { return nil, errNoSocket }

func removeControl(string) {}

func dialControl(string) (net.Conn, error) { return nil, errNoSocket }
