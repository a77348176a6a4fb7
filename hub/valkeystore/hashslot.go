package valkeystore

import "strings"

// hashSlots is how many slots a cluster has.
const hashSlots = 16384

// slotOf is the slot of a key or channel: the CRC-16 (XMODEM) of what stands
// between its first brace and the next closing one, or of the whole, as the
// cluster specification says.
func slotOf(key string) uint16 {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			key = tag
		}
	}
	var crc uint16
	for i := range len(key) {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc % hashSlots
}

// slotRange is a range of slots, both ends in it.
type slotRange struct{ first, last uint16 }

func (r slotRange) has(slot uint16) bool { return r.first <= slot && slot <= r.last }
