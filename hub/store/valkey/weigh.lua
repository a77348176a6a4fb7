#!lua flags=no-writes
-- Tells where a log is, and what its events from one seq to another weigh by Entry.JSONLen.
-- It weighs no more of them than take the server as long as a page does.
--
-- KEYS: the session, its events. ARGV: the seqs.
-- Gives {head, compacted, bytes, the last seq that was weighed}; nil for what is not there.
local from, to = tonumber(ARGV[1]), tonumber(ARGV[2])
local fields = redis.call('HMGET', KEYS[1], 'head', 'compacted')
local size, last = 0, from - 1
if fields[1] then
	local step, most = 1, math.min(to, from + 511)
	while last < most and size < 262144 do
		-- Large events can stand together: see read.lua.
		local average = size / math.max(1, last - from + 1)
		local want = math.min(128, step, most - last, math.ceil(262144 / math.max(64, average)))
		step = step * 4
		local got = redis.call('XRANGE', KEYS[2], string.format('%d', last + 1), string.format('%d', most), 'COUNT', want)
		for _, e in ipairs(got) do
			local seq = string.match(e[1], '^%d+')
			size, last = size + 7 + #seq + #e[2][2], tonumber(seq)
		end
		if #got < want then break end
	end
end
return { fields[1], fields[2], size, string.format('%d', last) }
