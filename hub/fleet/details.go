package fleet

import (
	"fmt"
	"maps"
	"slices"

	"sessionhub/hub/session"
	"sessionhub/protocol"
)

// checkDetails holds the details of a hello to their limits. offered are its providers. A
// refusal names no provider that the worker has not offered.
func checkDetails(details map[string]protocol.ProviderDetails, offered map[string]bool) error {
	if len(details) == 0 {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(details)) {
		if !offered[name] {
			return fmt.Errorf("details name a provider that providers lack")
		}
		d, at := details[name], fmt.Sprintf("details[%s].", session.Clip(name))
		if err := session.FirstOf(
			session.CheckOptional(at+"title", d.Title, protocol.MaxProviderTitle),
			session.CheckOptional(at+"description", d.Description, protocol.MaxProviderDescription),
		); err != nil {
			return err
		}
		if d.Icon != "" {
			if err := protocol.CheckIcon(d.Icon); err != nil {
				return fmt.Errorf("%sicon %w", at, err)
			}
		}
		if d.Login != "" && d.Login != protocol.LoginFound && d.Login != protocol.LoginMissing {
			return fmt.Errorf("%slogin is neither %s nor %s", at, protocol.LoginFound, protocol.LoginMissing)
		}
		if err := checkCapabilities(at, d.Capabilities); err != nil {
			return err
		}
	}
	if n := len(protocol.Marshal(details)); n > protocol.MaxDetailsBytes {
		return fmt.Errorf("details are %d bytes long: at most %d", n, protocol.MaxDetailsBytes)
	}
	return nil
}

func checkCapabilities(at string, c *protocol.ProviderCapabilities) error {
	if c == nil {
		return nil
	}
	if err := session.CheckOptional(at+"mode", c.Mode, protocol.MaxNameBytes); err != nil {
		return err
	}
	if !c.SessionMCP.IsKnown() {
		return fmt.Errorf("%ssessionMCP is none of %s, %s, %s", at, protocol.SessionMCPNone, protocol.SessionMCPHTTP, protocol.SessionMCPAny)
	}
	for _, list := range []struct {
		field string
		modes []string
	}{{at + "askingModes", c.AskingModes}, {at + "allowedModes", c.AllowedModes}} {
		if len(list.modes) > protocol.MaxProviderModes {
			return fmt.Errorf("%s are %d: at most %d", list.field, len(list.modes), protocol.MaxProviderModes)
		}
		for i, mode := range list.modes {
			if err := session.CheckName(fmt.Sprintf("%s[%d]", list.field, i), mode, protocol.MaxNameBytes); err != nil {
				return err
			}
		}
	}
	return nil
}
