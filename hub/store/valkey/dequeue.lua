-- Takes a session out of its lane. An empty lane is forgotten: the order of its users no
-- longer matters.
--
-- KEYS: as enqueue.lua. ARGV: id, provider.
local order, members, users, last, numbers, depths = unpack(KEYS)
local member = redis.call('HGET', members, ARGV[1])
if not member then return 0 end
local tag = tonumber(redis.call('ZSCORE', order, member))
redis.call('ZREM', order, member)
redis.call('HDEL', members, ARGV[1])
redis.call('HDEL', users, ARGV[1])
if redis.call('HINCRBY', depths, ARGV[2], -1) <= 0 then
	redis.call('HDEL', depths, ARGV[2])
end
if redis.call('ZCARD', order) == 0 then
	redis.call('UNLINK', order, members, users, last, numbers)
elseif tag > tonumber(redis.call('HGET', numbers, 'served') or 0) then
	redis.call('HSET', numbers, 'served', tag)
end
return 1
