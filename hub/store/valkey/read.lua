#!lua flags=no-writes
-- Reads events from a seq on. It gives at most so many events and so many bytes by
-- Entry.JSONLen, but at least one event if there is one. The compacted ones come first: see
-- compact.lua.
--
-- KEYS: the session, its events, its compacted events. ARGV: the seq, most events, most
-- bytes.
-- Gives {epoch, first, last, 1 if the next one did not fit, id, value, id, value, ...}, or
-- 'missing'.
local fields = redis.call('HMGET', KEYS[1], 'head', 'compacted')
if not fields[1] then return 'missing' end
local last, first, bytes = string.match(fields[1], '^%d+ (%d+) (%d+) (%d+)') -- see append.lua
local out = { string.match(fields[1], '%S+$'), first, last, '' }
first, last, bytes = tonumber(first), tonumber(last), tonumber(bytes)
local from, events, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local size, taken = 0, 0

-- Takes events from a stream, at a time as many as fit if they are of average length. An
-- event that does not fit is read for nothing. Large events can stand together. So the
-- first events are read one by one and tell how long the next ones may be. Gives true if
-- there is room left after the stream's last event.
local function take(stream, average)
	local begin, before, step = size, taken, 1
	while taken < events and (size < most or taken == 0) do
		if taken > before then average = math.max(average, (size - begin) / (taken - before)) end
		local want = math.max(1, math.min(128, step, events - taken, math.floor((most - size) / average)))
		step = step * 4
		local got = redis.call('XRANGE', stream, from, '+', 'COUNT', want)
		for _, e in ipairs(got) do
			local id, value = string.match(e[1], '^%d+'), e[2][2]
			size = size + 7 + #id + #value
			if string.byte(value) ~= 44 then size = size + 8 end -- no comma: it has a from
			if size > most and taken > 0 then
				out[4] = '1'
				return false
			end
			taken = taken + 1
			out[#out + 1], out[#out + 2] = id, value
			from = '(' .. e[1]
		end
		if #got < want then return true end
	end
	return false
end

if fields[2] then
	local upto, old, old_bytes = string.match(fields[2], '^(%d+) (%d+) (%d+)$')
	upto = tonumber(upto)
	if tonumber(old) <= upto and first == upto + 1 then
		out[2] = old
		if tonumber(from) <= upto and not take(KEYS[3], math.max(64, tonumber(old_bytes) / math.max(1, redis.call('XLEN', KEYS[3])))) then
			return out
		end
	end
end
take(KEYS[2], math.max(64, bytes / math.max(1, last - first + 1)))
return out
