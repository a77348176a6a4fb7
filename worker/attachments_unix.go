//go:build unix

package worker

import (
	"os"
	"syscall"
)

// owned reports whether this user owns a file.
func owned(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Getuid()
}
