#!lua
-- A heartbeat: it is heard on the connection that is subscribed to the channel.
-- A script that may write is refused by a server that takes no writes (a replica,
-- one out of memory, one that misses its replicas): so a heartbeat that is heard
-- says that the store can be written to.
--
-- KEYS: the channel, which is in the server's own slots. ARGV: PUBLISH or SPUBLISH.
return redis.call(ARGV[1], KEYS[1], '')
