#!lua
-- Takes a token from a bucket, or gives one back. The bucket holds at most burst tokens and
-- gains rate tokens each second. A bucket that has become full again is forgotten.
--
-- KEYS: the bucket. ARGV: rate, burst, take or give.
-- Gives the microseconds to wait for a token; 0: one was taken.
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local tokens = burst
local kept = redis.call('GET', KEYS[1])
if kept then
	local had, at = string.match(kept, '^(%S+) (%d+)$')
	-- A clock that was set back gives nothing, and takes nothing.
	tokens = math.min(burst, tonumber(had) + math.max(0, now - tonumber(at)) / 1000000 * rate)
end
local wait = 0
if ARGV[3] == 'give' then
	tokens = math.min(burst, tokens + 1)
elseif tokens < 1 then
	wait = math.max(1000, math.ceil((1 - tokens) / rate * 1000000))
else
	tokens = tokens - 1
end
local full = math.ceil((burst - tokens) / rate * 1000) -- milliseconds
redis.call('SET', KEYS[1], string.format('%.6f %.0f', tokens, now), 'PX', string.format('%.0f', math.max(1, full)))
return wait
