#!lua
-- Puts a session into its lane by start-time fair queueing: its tag is its user's
-- last one plus 1, but never less than the tag of the one that was served last
-- plus 1. The smallest tag goes first, those of one tag in the order they came.
--
-- KEYS: the lane's order, its members by id, its users by id, the last tag by
-- user, the numbers of the lane, the depths by provider.
-- ARGV: id, user, provider, PUBLISH or SPUBLISH, the channel.
local order, members, users, last, numbers, depths = unpack(KEYS)
local id, user = ARGV[1], ARGV[2]
if redis.call('HEXISTS', members, id) == 0 then
	local served = tonumber(redis.call('HGET', numbers, 'served') or 0)
	local tag = math.max(served, tonumber(redis.call('HGET', last, user) or 0)) + 1
	local member = string.format('%016d', redis.call('HINCRBY', numbers, 'came', 1)) .. id
	redis.call('ZADD', order, tag, member)
	redis.call('HSET', last, user, tag)
	redis.call('HSET', members, id, member)
	redis.call('HSET', users, id, user)
	redis.call('HINCRBY', depths, ARGV[3], 1)
end
redis.call(ARGV[4], ARGV[5], '0 1 -\n')
return 0
