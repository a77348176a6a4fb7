#!lua
-- Puts a session into its lane by start-time fair queueing. Its tag is 1 more than its
-- user's last tag or the last served tag, whichever is greater. The smallest tag goes
-- first. Sessions with the same tag go in the order in which they came.
--
-- KEYS: the lane's order, its members by id, its users by id, the last tag by user, the
-- numbers of the lane, the depths by provider.
-- ARGV: id, user, provider, PUBLISH or SPUBLISH, the channel, the session as JSON. That
-- JSON goes behind the head of a notice: an older node then reads every queue.
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
redis.call(ARGV[4], ARGV[5], '0 1 -\n' .. (ARGV[6] or ''))
return 0
