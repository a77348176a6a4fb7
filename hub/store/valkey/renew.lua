#!lua
-- Makes a worker's lease end some time from now. A lease that another node has renewed for
-- longer keeps its end.
--
-- KEYS: the ends of leases, the workers, their nodes. ARGV: name, node, the worker as JSON,
-- microseconds.
local ends, workers, nodes = KEYS[1], KEYS[2], KEYS[3]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local over = now + tonumber(ARGV[4])
local old = redis.call('ZSCORE', ends, ARGV[1])
if not old or redis.call('HGET', nodes, ARGV[1]) == ARGV[2] or over > tonumber(old) then
	redis.call('ZADD', ends, string.format('%d', over), ARGV[1])
	redis.call('HSET', workers, ARGV[1], ARGV[3])
	redis.call('HSET', nodes, ARGV[1], ARGV[2])
end
-- Nobody has asked about leases that ended a day ago: their workers had no sessions.
for _, name in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', string.format('%d', now - 86400000000), 'LIMIT', 0, 10)) do
	redis.call('ZREM', ends, name)
	redis.call('HDEL', workers, name)
	redis.call('HDEL', nodes, name)
end
return 0
