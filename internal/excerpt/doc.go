// Package excerpt shortens what an agent said until it fits into an event, and
// says what is missing: of a text the head and the tail stay, of a diff the
// changed lines. It is pure, and its work and memory are bounded by the length
// of what it is given.
//
// What stands for a text that was cut has a line between head and tail:
//
//	… 1,234,567 bytes left out …
//
// In an approval the hash of the whole text stands behind it: two questions that
// differ only in what was left out stay different for who compares them.
package excerpt
