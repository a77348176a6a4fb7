#!lua
-- Sends a heartbeat to the connection that is subscribed to the channel. The script is
-- marked as one that writes. A server that takes no writes refuses it: a replica, a server
-- out of memory, or one that misses its replicas. So a heartbeat that arrives proves that
-- the store takes writes.
--
-- KEYS: the channel, which is in the server's own hash slots. ARGV: PUBLISH or SPUBLISH.
return redis.call(ARGV[1], KEYS[1], '')
