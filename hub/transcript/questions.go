package transcript

import "slices"

// questions are held back until they are answered, oldest first.
type questions []question

// question is a decision or an elicitation without an answer.
type question struct {
	id    string
	entry any
	size  int
}

// hold keeps a question. size is that of its event.
func (q *questions) hold(id string, entry any, size int) {
	*q = append(*q, question{id: id, entry: entry, size: size + 200})
}

// answered gives the entry of a question that is answered now, or otherwise if that entry
// was written before, or is not kept.
func answered[T any](q *questions, id string, otherwise T) T {
	for i, one := range *q {
		if e, ok := one.entry.(T); ok && one.id == id {
			*q = slices.Delete(*q, i, i+1)
			return e
		}
	}
	return otherwise
}
