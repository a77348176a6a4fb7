#!lua flags=no-writes
-- Gives the first sessions of a lane: {id, user, id, user, ...}.
--
-- KEYS: the lane's order, its users by id. ARGV: how many.
local out = {}
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1)) do
	local id = string.sub(member, 17)
	out[#out + 1], out[#out + 2] = id, redis.call('HGET', KEYS[2], id)
end
return out
