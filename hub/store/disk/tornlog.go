package disk

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
)

// Pebble's log consists of chunks in blocks of 32 KiB; Pebble's package record has the
// format. A chunk's header holds the checksum (4 bytes), the length (2), the type (1), the
// log's number (4) and a position (8). The log was synced up to that position before the
// chunk was written.
const (
	logBlock    = 32 << 10
	chunkHeader = 4 + 2 + 1 + 4 + 8
	firstChunk  = 9 // the types of chunks with that position
	lastChunk   = 12
)

// checkLogs refuses a log that is broken before the position up to which it was synced.
// Pebble looks for later chunks only in the blocks after the broken one. It would take the
// rest of the broken block for never written. A store that was not closed would then lose
// changes that it had accepted. Only the last group of the log looks the same as a write
// that a power cut has torn.
func (d *directory) checkLogs() error {
	dir := d.fs.PathJoin(d.dir, dataDir)
	names, err := d.fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		number, isLog := strings.CutSuffix(name, ".log")
		n, err := strconv.ParseUint(number, 10, 64)
		if !isLog || err != nil {
			continue
		}
		f, err := d.fs.Open(d.fs.PathJoin(dir, name))
		if err != nil {
			return err
		}
		b, err := io.ReadAll(f)
		_ = f.Close()
		if err != nil {
			return err
		}
		if at, broken := brokenAt(b, uint32(n)); broken {
			return damaged(fmt.Errorf("the log %s is broken at byte %d, which had been synced", name, at))
		}
	}
	return nil
}

// brokenAt returns where the chunks of a log end. broken says that a later chunk proves
// that the log was synced beyond that place.
func brokenAt(b []byte, log uint32) (at int, broken bool) {
	for at < len(b) {
		if logBlock-at%logBlock < chunkHeader {
			at += logBlock - at%logBlock
			continue
		}
		length, _, ok := chunk(b, at, log)
		if !ok {
			break
		}
		at += chunkHeader + length
	}
	for next := at + 1; next+chunkHeader <= len(b); next++ {
		if _, synced, ok := chunk(b, next, log); ok && synced > uint64(at) {
			return at, true
		}
	}
	return at, false
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chunk judges the bytes at a place of a log.
func chunk(b []byte, at int, log uint32) (length int, synced uint64, ok bool) {
	if at+chunkHeader > len(b) || b[at+6] < firstChunk || b[at+6] > lastChunk || binary.LittleEndian.Uint32(b[at+7:]) != log {
		return 0, 0, false
	}
	length = int(binary.LittleEndian.Uint16(b[at+4:]))
	end := at + chunkHeader + length
	if end > len(b) {
		return 0, 0, false
	}
	sum := crc32.Checksum(b[at+6:end], castagnoli)
	if binary.LittleEndian.Uint32(b[at:]) != (sum>>15|sum<<17)+0xa282ead8 {
		return 0, 0, false
	}
	return length, binary.LittleEndian.Uint64(b[at+11:]), true
}
