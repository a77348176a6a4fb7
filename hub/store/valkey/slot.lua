#!lua
-- Counts a stream of a node under its session or its user, unless the most are there
-- already. Counts are absolute, so a repeat changes nothing. The script removes the counts
-- of dead nodes.
--
-- KEYS: the counts: "node kind" -> number.
-- ARGV: the most (0: no limit), the node, the kind, how many it has of the kind, the nodes
-- that live.
-- Gives 1, or 0 if the most are there.
local counts, most, name, kind, have = KEYS[1], tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
local live = {}
for i = 5, #ARGV do live[ARGV[i]] = true end
live[name] = true
local own, total = name .. ' ' .. kind, have
local all = redis.call('HGETALL', counts)
for i = 1, #all, 2 do
	if not live[string.match(all[i], '^%S+')] then
		redis.call('HDEL', counts, all[i])
	elseif all[i] ~= own then
		total = total + tonumber(all[i + 1])
	end
end
if most > 0 and total >= most then return 0 end
redis.call('HSET', counts, own, string.format('%d', have + 1))
return 1
