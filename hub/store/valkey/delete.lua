-- Forgets a session. UNLINK frees its memory beside other commands.
--
-- KEYS: the session, its events, its commands, its notes, its compacted events, its
-- streams.
-- ARGV: how the channels of users begin, a random word.
-- Gives the session's user, or nothing if there was no session.
local user = redis.call('HGET', KEYS[1], 'user')
redis.call('UNLINK', unpack(KEYS))
if user then redis.call('PUBLISH', ARGV[1] .. user, 's - ' .. ARGV[2] .. ' ' .. string.sub(KEYS[1], 1, -9)) end
return user
