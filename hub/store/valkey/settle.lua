#!lua
-- Ends the check of a session that was taken, unless another taker has taken it since.
--
-- KEYS: as arm.lua. ARGV: id, token, microseconds when it is due next, or 0.
local at, behind, tokens, id, next = KEYS[1], KEYS[2], KEYS[3], ARGV[1], tonumber(ARGV[3])
if redis.call('HGET', tokens, id) ~= ARGV[2] then return 0 end
redis.call('HDEL', tokens, id)
local later = tonumber(redis.call('HGET', behind, id) or 0)
redis.call('HDEL', behind, id)
if next == 0 or (later > 0 and later < next) then
	next = later
end
if next > 0 then
	redis.call('ZADD', at, string.format('%d', next), id)
else
	redis.call('ZREM', at, id)
end
return 1
