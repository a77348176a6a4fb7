package valkey

import "strings"

// hashSlots is how many hash slots a cluster has.
const hashSlots = 16384

// hashSlotOf is the hash slot of a key or channel, as the cluster specification defines it. It
// is the CRC-16 (XMODEM) of the text between the first brace and the next closing one, or
// else of the whole.
func hashSlotOf(key string) uint16 {
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

// hashSlotRange is a range of hash slots, both ends included.
type hashSlotRange struct{ first, last uint16 }

func (r hashSlotRange) has(hashSlot uint16) bool { return r.first <= hashSlot && hashSlot <= r.last }
