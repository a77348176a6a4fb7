#!lua
-- Takes a seat among a user's open sessions for a session that is about to be created, and
-- lists that session. The seat is pending (its score is negative) until it is confirmed. A
-- session that has a seat keeps it.
--
-- KEYS: the user's open sessions, the user's sessions. ARGV: the id, the most, and which
-- holders of seats to show when all are taken: from where on, and how many.
-- Gives {time, 1 if the seat is new, 1 if the line in the list is new}. When all seats
-- are taken: {time, -1, id, score, id, score, ...}, oldest first.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local open, all, id, most = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2])
local seated = 0
if not redis.call('ZSCORE', open, id) then
	if most > 0 and redis.call('ZCARD', open) >= most then
		local from = tonumber(ARGV[3])
		local out = redis.call('ZRANGE', open, from, from + tonumber(ARGV[4]) - 1, 'WITHSCORES')
		table.insert(out, 1, -1)
		table.insert(out, 1, now)
		return out
	end
	redis.call('ZADD', open, string.format('%.0f', -now), id)
	seated = 1
end
local listed = redis.call('ZADD', all, 'NX', string.format('%.0f', now), id)
return { now, seated, listed }
