#!lua flags=no-writes
-- Reads the fields of a snapshot and a note at one moment. If there is no note, there was
-- none when the session had this version.
--
-- KEYS: the session, its notes. ARGV: the note, the fields of the session.
-- Gives {{field, ...}, note}; nil for what is not there.
return {redis.call('HMGET', KEYS[1], unpack(ARGV, 2)), redis.call('HGET', KEYS[2], ARGV[1])}
