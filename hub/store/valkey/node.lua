#!lua
-- Reports a node alive, and tells it which node takes the census. A node that has been
-- silent for too long is dead, and never comes back under its name.
--
-- KEYS: the nodes by the time they were heard of, the node that takes the census.
-- ARGV: the node, microseconds of silence that are too long, new if its name is.
-- Gives {1, 1 if it takes the census}; {0, 0} if it was taken for dead.
local nodes, census, name, most = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
redis.call('ZREMRANGEBYSCORE', nodes, '-inf', string.format('%d', now - most))
if ARGV[3] ~= 'new' and not redis.call('ZSCORE', nodes, name) then return { 0, 0 } end
redis.call('ZADD', nodes, string.format('%d', now), name)
local has = redis.call('GET', census)
if not has or has == name or not redis.call('ZSCORE', nodes, has) then
	redis.call('SET', census, name)
	has = name
end
return { 1, has == name and 1 or 0 }
