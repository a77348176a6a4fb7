package worker

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

func thousandCommands() string {
	var list []string
	for i := range 1000 {
		list = append(list, fmt.Sprintf(`{"name":"c%d","description":%q}`, i, strings.Repeat("long ", 400)))
	}
	return `{"sessionUpdate":"available_commands_update","availableCommands":[` + strings.Join(list, ",") + `]}`
}

// flood are thousands of updates about the session. The last ones have the highest numbers.
func flood() (all []string) {
	for i := 1; i <= 3000; i++ {
		all = append(all, fmt.Sprintf(`{"sessionUpdate":"usage_update","used":%d,"size":%d}`, i, 2*i), fmt.Sprintf(`{"sessionUpdate":"session_info_update","title":"%d"}`, i))
	}
	return append(all, `{"sessionUpdate":"usage_update","cost":{"amount":3,"currency":"USD"}}`)
}

// tellings are updates of the scripted agent about its session, by the word behind "tell"
// in a prompt.
var tellings = map[string][]string{
	"all": {
		`{"sessionUpdate":"available_commands_update","availableCommands":[{"name":"compact","description":"Compact\nthe context","input":null},` +
			`{"name":"review","description":"Review","input":{"hint":"what"}},{"name":"compact","description":"again"},{"name":"two words"},{"name":""},7,{"name":"bare"}]}`,
		`{"sessionUpdate":"usage_update","used":53000,"size":200000,"cost":{"amount":0.42,"currency":"USD"}}`,
		`{"sessionUpdate":"usage_update","used":53000,"size":200000,"cost":{"amount":0.42,"currency":"USD"}}`,
		`{"sessionUpdate":"session_info_update","title":"Fix the\n login bug","updatedAt":"2026-01-01T00:00:00Z"}`,
		`{"sessionUpdate":"session_info_update","title":"Fix the login bug"}`,
		`{"sessionUpdate":"session_info_update","title":null}`,
		`{"sessionUpdate":"session_info_update","updatedAt":"2026-01-01T00:00:00Z"}`,
	},
	"odd-usage": {
		`{"sessionUpdate":"usage_update","used":-1,"size":1e300,"cost":{"amount":-1,"currency":"USD"}}`,
		`{"sessionUpdate":"usage_update","used":12.7,"size":null,"cost":{"amount":2e9,"currency":"USD"}}`,
		`{"sessionUpdate":"usage_update","used":"many","size":0,"cost":{"amount":1,"currency":""}}`,
		`{"sessionUpdate":"usage_update","cost":{"amount":1e999,"currency":"USD"}}`,
		`{"sessionUpdate":"usage_update","cost":{"amount":1,"currency":"credits"}}`,
	},
	"thousand": {thousandCommands()},
	"flood":    flood(),
	"notices": {
		`{"sessionUpdate":"notice","severity":"warning","title":"Context is low","description":"5 % are left","_meta":{"left":5}}`,
		`{"sessionUpdate":"notice","severity":"fatal","title":"As bad\n  as it gets","description":null}`,
		`{"sessionUpdate":"notice","severity":"info","title":""}`,
		`{"sessionUpdate":"history_lost","message":"not true"}`,
		`{"sessionUpdate":"agent_started"}`,
	},
}

// burst asks so many things at once.
func (a *scripted) burst(number string) {
	count, _ := strconv.Atoi(number)
	for i := range count {
		id := strconv.Itoa(100_000 + i)
		answer := make(chan json.RawMessage, 1)
		a.mu.Lock()
		a.answers[id] = answer
		a.mu.Unlock()
		a.print(`{"jsonrpc":"2.0","id":%s,"method":"terminal/create","params":{}}`, id)
	}
}
