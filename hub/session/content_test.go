package session

import (
	"errors"
	"testing"
)

// A message says something: a text, or a block that is more than an empty one.
func TestContent(t *testing.T) {
	for content, taken := range map[string]bool{
		`"hello"`:  true,
		` "hello"`: true,
		`" \n"`:    false,
		`""`:       false,
		`null`:     false,
		`{}`:       false,
		`7`:        false,
		`[]`:       false,
		`[null]`:   false,
		`[{"type":"text","text":"a"},{"type":"text","text":""}]`: true,
		`[{"type":"text","text":""},{"type":"text","text":" "}]`: false,
		`[{"type":"text"}]`: false,
		`[{"type":"text","text":""},{"type":"resource_link","uri":"file:///a","name":"a"}]`:                  true,
		`[{"type":"resource_link","uri":"a","name":"a"}]`:                                                    false,
		`[{"type":"image","mimeType":"image/png","data":"iVBORw0KGgo="}]`:                                    true,
		`[{"type":"image","mimeType":"image/png","data":"AAAA"}]`:                                            false,
		`[{"type":"image","mimeType":"image/jpeg","data":"iVBORw0KGgo="}]`:                                   false,
		`[{"type":"audio","mimeType":"audio/wav","data":"iVBORw0KGgo="}]`:                                    false,
		`[{"type":"resource","resource":{"uri":"file:///a","mimeType":"image/jpeg","blob":"iVBORw0KGgo="}}]`: false,
		`[{"type":"resource","resource":{"uri":"file:///a","mimeType":"image/png","blob":"iVBORw0KGgo="}}]`:  true,
		`[{"type":"image","mimeType":"audio/wav","data":"AAAA"}]`:                                            false,
		`[{"type":"image","mimeType":"image/png","data":"?"}]`:                                               false,
		`[{"type":"resource","resource":{"uri":"file:///a","text":""}}]`:                                     true,
		`[{"type":"resource","resource":{"uri":"file:///a","text":"","blob":"AAAA"}}]`:                       false,
		`[{"type":"video","mimeType":"video/mp4","data":"AAAA"}]`:                                            false,
	} {
		_, err := CheckContent([]byte(content))
		if (err == nil) != taken || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", content, err)
		}
	}
}
