#!lua flags=no-writes
-- Reads events from a seq on, at most so many and so many bytes by
-- Entry.JSONLen, but one at least if there is one.
--
-- KEYS: the session, its events. ARGV: the seq, most events, most bytes.
-- Gives {epoch, first, last, id, tail, id, tail, ...}, or 'missing'.
local head = redis.call('HGET', KEYS[1], 'head')
if not head then return 'missing' end
local last, first, bytes = string.match(head, '^%d+ (%d+) (%d+) (%d+)') -- see append.lua
local out = { string.match(head, '%S+$'), first, last }
first, last, bytes = tonumber(first), tonumber(last), tonumber(bytes)
local from, events, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

-- As many at a time as will fit if they are of average length: what does not fit
-- was read for nothing. Large ones can stand together, so the first ones are read
-- alone, and tell how long the next ones may be.
local average = math.max(64, bytes / math.max(1, last - first + 1))
local size, taken, step = 0, 0, 1
while taken < events and (size < most or taken == 0) do
	if taken > 0 then average = math.max(average, size / taken) end
	local want = math.max(1, math.min(128, step, events - taken, math.floor((most - size) / average)))
	step = step * 4
	local got = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', want)
	for _, e in ipairs(got) do
		local id, tail = string.match(e[1], '^%d+'), e[2][2]
		size = size + 7 + #id + #tail
		if size > most and taken > 0 then return out end
		taken = taken + 1
		out[#out + 1], out[#out + 2] = id, tail
		from = '(' .. e[1]
	end
	if #got < want then break end
end
return out
