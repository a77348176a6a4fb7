-- Removes members of a sorted set, if they still have the score with which they were read.
-- A member that has come back meanwhile stays.
--
-- KEYS: the set. ARGV: member, score, member, score, ...
for i = 1, #ARGV, 2 do
	local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
	if score and tonumber(score) == tonumber(ARGV[i + 1]) then
		redis.call('ZREM', KEYS[1], ARGV[i])
	end
end
return 0
