package worker

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"sessionhub/protocol"
)

// maxLineBytes is the longest line that an agent may print.
const maxLineBytes = 32 << 20

// Error codes of JSON-RPC 2.0 (section 5.1) and ACP ("Error codes").
const (
	rpcInvalidRequest = -32600
	rpcMethodNotFound = -32601
	rpcInvalidParams  = -32602
	rpcInternal       = -32603
	rpcAuthRequired   = -32000

	rpcRequestCancelled = -32800
)

// rpcMessage is a line of an agent: a request (method and id), a notification (method
// alone), a response (id alone), or none of them. Params and results stay raw, so fields
// without a name here are passed on as they came.
type rpcMessage struct {
	kind   lineKind
	id     json.RawMessage
	method string
	params json.RawMessage
	result json.RawMessage
	err    *rpcError
	text   string // of garbage: its beginning
}

type lineKind int

const (
	lineRequest lineKind = iota + 1
	lineNotification
	lineResponse
	lineGarbage // no JSON-RPC 2.0 message
	lineTooLong // over maxLineBytes; it was skipped
)

// rpcError is the error of a response (JSON-RPC 2.0, section 5.1).
type rpcError struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// UnmarshalJSON takes any value. An agent that answers {"error":"text"} has answered, and
// the caller must not wait for ever.
func (e *rpcError) UnmarshalJSON(raw []byte) error {
	type plain rpcError // without this method
	if json.Unmarshal(raw, (*plain)(e)) == nil {
		return nil
	}
	*e = rpcError{Code: rpcInternal}
	if json.Unmarshal(raw, &e.Message) != nil {
		e.Data = bytes.Clone(raw)
	}
	return nil
}

// Error returns the message. It adds the data if the agent hides the cause there ("Internal
// error" with the details beside it).
func (e *rpcError) Error() string {
	text := printable(clip(e.Message, 4<<10))
	if strings.TrimSpace(text) == "" {
		text = fmt.Sprintf("error %d", e.Code)
	}
	if isNull(e.Data) {
		return text
	}
	var detail struct {
		Details string `json:"details"`
		Message string `json:"message"`
	}
	var plain string
	switch {
	case json.Unmarshal(e.Data, &plain) == nil:
	case json.Unmarshal(e.Data, &detail) == nil && detail.Details+detail.Message != "":
		if plain = detail.Details; plain == "" {
			plain = detail.Message
		}
	default:
		plain = string(e.Data)
	}
	return text + ": " + printable(clip(plain, 2<<10))
}

// maxIDBytes is the longest id of an agent's request that the worker sends back.
const maxIDBytes = 256

// garbageHead is how much of a garbage line is kept.
const garbageHead = 200

// parseLine reads one line of an agent. It keeps no reference to the line.
func parseLine(line []byte) rpcMessage {
	line = cleanLine(line)
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method *string         `json:"method"`
		Params json.RawMessage `json:"params"`
		Result json.RawMessage `json:"result"`
		Error  *rpcError       `json:"error"`
	}
	if len(line) > 0 && line[0] == '{' && json.Unmarshal(line, &m) == nil && len(m.ID) <= maxIDBytes {
		switch {
		case m.Method != nil && !isNull(m.ID):
			return rpcMessage{kind: lineRequest, id: m.ID, method: *m.Method, params: m.Params}
		case m.Method != nil:
			return rpcMessage{kind: lineNotification, method: *m.Method, params: m.Params}
		case !isNull(m.ID):
			return rpcMessage{kind: lineResponse, id: m.ID, result: m.Result, err: m.Error}
		}
	}
	return rpcMessage{kind: lineGarbage, text: printable(clip(string(line[:min(len(line), 2*garbageHead)]), garbageHead))}
}

// requestID reads the number of one of our requests from a response. Some agents send
// numbers back as text.
func requestID(raw json.RawMessage) (int64, bool) {
	id, err := strconv.ParseInt(string(bytes.Trim(raw, `"`)), 10, 64)
	return id, err == nil
}

// lineReader splits an agent's stdout into lines of at most limit bytes.
type lineReader struct {
	r     *bufio.Reader
	limit int
	buf   []byte
	skip  bool // the next bytes are the rest of a line that was too long
}

func newLineReader(r io.Reader, limit int) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 64<<10), limit: limit}
}

// errLineTooLong says that a line is skipped. next returns it as soon as the limit is
// passed, since such a line may have no end.
var errLineTooLong = errors.New("line too long")

// next returns the next line that is not blank, without its line break. The line is valid
// until the next call. A last line without a line break counts as a line.
func (l *lineReader) next() ([]byte, error) {
	for {
		line, err := l.read()
		if err != nil && len(line) == 0 {
			return nil, err
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (l *lineReader) read() ([]byte, error) {
	if cap(l.buf) > 1<<20 {
		l.buf = nil // so that one huge line is not kept for an agent's life
	}
	l.buf = l.buf[:0]
	for l.skip {
		_, err := l.r.ReadSlice('\n')
		if l.skip = errors.Is(err, bufio.ErrBufferFull); !l.skip && err != nil {
			return nil, err
		}
	}
	for {
		part, err := l.r.ReadSlice('\n')
		if err == nil && len(l.buf) == 0 {
			return part, nil
		}
		if len(l.buf)+len(part) > l.limit {
			l.skip = errors.Is(err, bufio.ErrBufferFull)
			return nil, errLineTooLong
		}
		l.buf = append(l.buf, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return l.buf, err
		}
	}
}

// The messages that the worker sends.

func encodeRequest(id int64, method string, params any) []byte {
	return encodeLine(struct {
		JSONRPC string `json:"jsonrpc"`
		ID      int64  `json:"id"`
		Method  string `json:"method"`
		Params  any    `json:"params"`
	}{"2.0", id, method, params})
}

func encodeNotification(method string, params any) []byte {
	return encodeLine(struct {
		JSONRPC string `json:"jsonrpc"`
		Method  string `json:"method"`
		Params  any    `json:"params"`
	}{"2.0", method, params})
}

func encodeResult(id json.RawMessage, result any) []byte {
	return encodeLine(struct {
		JSONRPC string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Result  any             `json:"result"`
	}{"2.0", id, result})
}

func encodeError(id json.RawMessage, code int, message string) []byte {
	return encodeLine(struct {
		JSONRPC string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Error   rpcError        `json:"error"`
	}{"2.0", id, rpcError{Code: code, Message: message}})
}

// encodeLine writes a message and a line break. Everything raw in the message must have
// gone through a JSON parser.
func encodeLine(v any) []byte { return append(protocol.Marshal(v), '\n') }
