#!lua
-- Takes sessions that are due, and hides them.
--
-- KEYS: when sessions are due, the times behind, the tokens, the last token.
-- ARGV: how many, microseconds to hide them for.
-- Gives {microseconds until another one is due, id, token, id, token, ...}.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local out = { 3600000000 }
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%d', now), 'LIMIT', 0, ARGV[1])) do
	local token = redis.call('INCR', KEYS[4])
	redis.call('ZADD', KEYS[1], string.format('%d', now + tonumber(ARGV[2])), id)
	redis.call('HSET', KEYS[3], id, string.format('%d', token))
	out[#out + 1], out[#out + 2] = id, token
end
local next = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if next[2] then
	out[1] = math.max(0, math.min(out[1], tonumber(next[2]) - now))
end
return out
