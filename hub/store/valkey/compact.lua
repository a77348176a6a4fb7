#!lua
-- Replaces events with the entries that stand for them. A stream takes no new entry in its
-- middle. So the compacted events have a stream of their own, and the other stream begins
-- behind it. The ids of both are the last seqs of their entries.
--
-- The field compacted of the session says how far the log is compacted, the first seq of
-- that stream, and its bytes. The stream is empty if that first seq lies beyond how far the
-- log is compacted. The field is no part of the head. Nodes of earlier versions see a log
-- that was trimmed there, and their changes leave both streams right.
--
-- The script makes every check that can refuse the step before its first write: see
-- append.lua. The step begins no epoch, not even after a failover. The events up to the
-- step's last one are the same on every server that knows the epoch. So a log at rest is
-- compacted after a restart too, without an append.
--
-- KEYS: the session, its events, its compacted events (one slot).
-- ARGV: the epoch, how far the log is compacted, the range's first and last seq, the bytes
-- of the events there, then of each entry: its seq, its value.
-- Gives 'done', or the name of a refusal.
local call, format, match = redis.call, string.format, string.match
local session, events, compacted = KEYS[1], KEYS[2], KEYS[3]
local begin, stop = tonumber(ARGV[3]), tonumber(ARGV[4])

local fields = call('HMGET', session, 'head', 'compacted')
if not fields[1] then return 'missing' end
local version, last, first, bytes, rest = match(fields[1], '^(%d+) (%d+) (%d+) (%d+) (.*)$')
local epoch = match(rest, '%S+$')
last, first, bytes = tonumber(last), tonumber(first), tonumber(bytes)
local upto, old, old_bytes = 0, 1, 0
if fields[2] then
	upto, old, old_bytes = match(fields[2], '^(%d+) (%d+) (%d+)$')
	upto, old, old_bytes = tonumber(upto), tonumber(old), tonumber(old_bytes)
end
if ARGV[1] ~= epoch or tonumber(ARGV[2]) ~= upto or begin ~= first or stop > last then return 'conflict' end

if old > upto or first ~= upto + 1 then
	call('UNLINK', compacted) -- of a session of the same id, or see append.lua
	old, old_bytes = begin, 0
end
for i = 6, #ARGV, 2 do
	local seq, value = ARGV[i], ARGV[i + 1]
	call('XADD', compacted, seq, 'e', value)
	old_bytes = old_bytes + 7 + #seq + #value + (string.byte(value) == 44 and 0 or 8) -- a comma: no from
end
if stop == last then
	call('UNLINK', events)
else
	call('XTRIM', events, 'MINID', format('%d', stop + 1))
end
call('HSET', session, 'compacted', format('%d %d %d', stop, old, old_bytes),
	'head', format('%s %d %d %d %s', version, last, stop + 1, bytes - tonumber(ARGV[5]), rest))
return 'done'
