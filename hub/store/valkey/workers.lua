#!lua flags=no-writes
-- Gives the workers, as JSON, whose lease has not ended.
--
-- KEYS: the ends of leases, the workers.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local out = {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%d', now), '+inf')) do
	out[#out + 1] = redis.call('HGET', KEYS[2], name)
end
return out
