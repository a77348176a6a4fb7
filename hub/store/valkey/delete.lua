-- Forgets a session. UNLINK frees its memory beside other commands.
--
-- KEYS: the session, its events, its commands, its notes, its compacted events, its
-- streams.
-- Gives the session's user, or nothing if there was no session.
local user = redis.call('HGET', KEYS[1], 'user')
redis.call('UNLINK', unpack(KEYS))
return user
