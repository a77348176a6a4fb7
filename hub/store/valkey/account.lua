#!lua
-- Stores a user's account if the version is still the expected one, and tells the user's
-- channel.
--
-- KEYS: the account. ARGV: the expected version, the next one, the account, the channel.
-- Gives 1, or 0 if another version is stored.
local version = redis.call('HGET', KEYS[1], 'version') or '0'
if version ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'account', ARGV[3])
redis.call('PUBLISH', ARGV[4], 'a ' .. ARGV[2])
return 1
