package store

// Bounded is a store with limited room that keeps sessions until the room is used up.
type Bounded interface {
	// Excess gives the sessions that must go so that the store keeps its bounds. Closed
	// sessions come first, then sleeping ones (session.State.Asleep), each least recently
	// used first. full says that these are not enough. Excess gives none while the store
	// keeps its bounds.
	Excess() (sessions []string, full bool)
}
