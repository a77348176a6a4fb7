package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

const maxFile = 1 * mib

// file reads the YAML file: one mapping from names of settings to values.
func (p *parser) file(path, source string) {
	b, err := readFile(path, maxFile)
	if err != nil {
		p.problem(source, "read the settings: %w", err)
		return
	}
	root, err := yamlRoot(b)
	if err != nil {
		p.problem(path, "%w", err)
		return
	}
	if root == nil {
		return
	}
	if root.Kind != yaml.MappingNode {
		p.problem(fmt.Sprintf("%s:%d", path, root.Line), "want lines of name: value")
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, node := root.Content[i], root.Content[i+1]
		source := fmt.Sprintf("%s:%d: %s", path, key.Line, clip(key.Value))
		switch line := seen[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			p.problem(fmt.Sprintf("%s:%d", path, key.Line), "want the name of a setting before the colon")
			continue
		case line != 0:
			p.problem(source, "is set in line %d too: want it once", line)
			continue
		}
		seen[key.Value] = key.Line
		switch {
		case key.Value == configName:
			p.problem(source, "cannot stand in the file: want --config or %s", variable(configName))
		case p.row(key.Value) == nil:
			p.unknown(source, key.Value, "key", "")
		default:
			p.set(key.Value, source, func(v value) error { return setNode(v, node) })
		}
	}
}

// yamlRoot is the file's only document, or nil if there is nothing in it.
func yamlRoot(b []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("want YAML: %w", err)
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("want one YAML document")
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	return root, nil
}

func setNode(v value, node *yaml.Node) error {
	l, isList := v.(*listValue)
	switch {
	case node.Kind == yaml.SequenceNode && isList:
		var all []string
		for _, n := range node.Content {
			if n.Kind != yaml.ScalarNode {
				return fmt.Errorf("line %d is no plain value: want %s", n.Line, v.want())
			}
			all = append(all, n.Value)
		}
		return l.set(strings.Join(all, ","))
	case node.Kind != yaml.ScalarNode:
		return fmt.Errorf("is no plain value: want %s", v.want())
	case node.Tag == "!!null":
		return fmt.Errorf("has no value: want %s", v.want())
	}
	return v.set(node.Value)
}
