#!lua
-- Reads a worker's lease, or ends it.
--
-- KEYS: as renew.lua. ARGV: name; to end the lease: the node that must be the last to have
-- renewed it.
-- Gives {microseconds that are left, 1 if the lease ended by itself}. The 1 is given once.
local ends, workers, nodes, name = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local function forget()
	redis.call('ZREM', ends, name)
	redis.call('HDEL', workers, name)
	redis.call('HDEL', nodes, name)
end
if ARGV[2] then
	if redis.call('HGET', nodes, name) == ARGV[2] then forget() end
	return { 0, 0 }
end
local over = redis.call('ZSCORE', ends, name)
if not over then return { 0, 0 } end
local time = redis.call('TIME')
local left = tonumber(over) - tonumber(time[1]) * 1000000 - tonumber(time[2])
if left > 0 then return { left, 0 } end
forget()
return { 0, 1 }
