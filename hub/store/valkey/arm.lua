#!lua
-- Makes a session due at a time. An earlier entry stays, and the new time is kept behind
-- it. A session that is being checked (it has a token) stays hidden.
--
-- KEYS: when sessions are due, the times behind, the tokens. ARGV: id, microseconds.
local at, behind, tokens, id, due = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2]
local now = redis.call('ZSCORE', at, id)
if not now then
	redis.call('ZADD', at, due, id)
elseif tonumber(due) < tonumber(now) and redis.call('HEXISTS', tokens, id) == 0 then
	redis.call('ZADD', at, due, id)
	redis.call('HSET', behind, id, string.format('%d', tonumber(now)))
else
	local next = redis.call('HGET', behind, id)
	if not next or tonumber(due) < tonumber(next) then
		redis.call('HSET', behind, id, due)
	end
end
return 0
