#!lua
-- Checks, numbers, stores, trims and announces a batch, all or nothing. A script is not
-- rolled back when one of its commands fails. So it makes every check that can refuse the
-- batch before its first write.
--
-- KEYS: the session, its events, its commands, its notes, its compacted events (one slot).
-- ARGV: see args in append.go.
-- Gives {first, last, microseconds, epoch}, or the name of a refusal.
local call, format, match = redis.call, string.format, string.match
local session, events, commands, notes, compacted = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local fence, expect = ARGV[6], ARGV[8]

-- The head is one field: ten fields would cost more than all the rest here. Its numbers go
-- up to 2^53. They are written with %d, since tostring would round them. Its first seq and
-- its bytes do not count the compacted events.
local head = call('HGET', session, 'head')
local create = ARGV[1] == 'create'
if create then
	if head then return 'exists' end
	head = '0 0 1 0 0 0 - 0 - -'
elseif not head then
	return 'missing'
end
local version, last, first, bytes, n, assignment, holder, activity, replid, epoch =
	match(head, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%S+) (%d+) (%S+) (%S+)$')
last, first, bytes, n = tonumber(last), tonumber(first), tonumber(bytes), tonumber(n)

-- The compacted events: see compact.lua. There are none if old > upto. Most logs have none
-- and begin with 1: those pay nothing for it.
local upto, old, old_bytes = 0, 1, 0
local field = first > 1 and call('HGET', session, 'compacted')
if field then
	upto, old, old_bytes = match(field, '^(%d+) (%d+) (%d+)$')
	upto, old, old_bytes = tonumber(upto), tonumber(old), tonumber(old_bytes)
end

if fence ~= '' then
	if fence ~= holder then return 'fenced' end
	local next = tonumber(ARGV[7])
	if next <= n then return 'repeat' end
	if next ~= n + 1 then return 'hole' end
	n = tonumber(ARGV[20])
end
if expect ~= '' then
	if expect ~= version and expect ~= version .. ' ' .. epoch then return 'conflict' end
	version = format('%d', tonumber(version) + 1)
	if ARGV[10] ~= assignment then
		assignment, n = ARGV[10], 0
	end
	holder = ARGV[11]
end

local time = call('TIME')
local seconds, micros = tonumber(time[1]), tonumber(time[2])
-- RFC 3339 in UTC with milliseconds, as protocol.AppendTime writes it. The date is Howard
-- Hinnant's civil_from_days. Its years begin in March, so that the leap day comes last.
local function timestamp()
	local floor = math.floor
	local days = floor(seconds / 86400)
	local of_day = seconds - days * 86400
	local z = days + 719468
	local era = floor(z / 146097)
	local doe = z - era * 146097
	local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
	local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
	local mp = floor((5 * doy + 2) / 153)
	local month = mp < 10 and mp + 3 or mp - 9
	local year = yoe + era * 400 + (month <= 2 and 1 or 0)
	return format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year, month, doy - floor((153 * mp + 2) / 5) + 1,
		floor(of_day / 3600), floor(of_day / 60) % 60, of_day % 60, floor(micros / 1000))
end

local count, added_commands, dropped, added_notes = tonumber(ARGV[15]), tonumber(ARGV[16]), tonumber(ARGV[17]), tonumber(ARGV[18])
local added_parts, dropped_parts = tonumber(ARGV[21]), tonumber(ARGV[22])
local at = 23 -- the argument that is read next
local begin = last + 1

if ARGV[14] == '1' then -- forget
	call('UNLINK', events, commands, notes, compacted)
	first, bytes = begin, 0
	upto, old, old_bytes = last, begin, 0
	call('HSET', session, 'compacted', format('%d %d 0', upto, old))
elseif old <= upto and first ~= upto + 1 then
	-- A node of an earlier version has trimmed the log beyond them.
	call('UNLINK', compacted)
	old, old_bytes = upto + 1, 0
	call('HSET', session, 'compacted', format('%d %d 0', upto, old))
end

if count > 0 or expect ~= '' or ARGV[1] == 'confirm' then
	-- The session's last event may come from another server. This server may lack the end
	-- of the log that the other one had acknowledged. From here on the numbers belong to a
	-- new epoch. The script asks this server for its id in the same step, so no node can
	-- name the wrong server.
	local info = call('INFO', 'replication')
	if not string.find(info, 'master_replid:' .. replid, 1, true) then
		replid, epoch = match(info, 'master_replid:(%w+)'), ARGV[2]
		local epochs = epoch .. ':' .. format('%d', begin)
		local before = call('HGET', session, 'epochs')
		if before then
			epochs = before .. ',' .. epochs
			while #epochs > 2000 do -- some 80 of them; a reader with a cursor of an older one starts anew
				epochs = match(epochs, ',(.*)')
			end
		end
		call('HSET', session, 'epochs', epochs)
	end
end

local tails, lengths
if count > 0 then
	local now = '","time":"' .. timestamp() .. '","data":'
	tails, lengths = {}, {}
	for i = 1, count do
		local tail = ',"type":"' .. ARGV[at] .. now .. ARGV[at + 1] .. '}'
		at = at + 2
		last = last + 1
		local seq = format('%d', last)
		call('XADD', events, seq, 'e', tail)
		bytes = bytes + 7 + #seq + #tail -- {"seq": and the rest: Entry.JSONLen
		tails[i], lengths[i] = tail, #tail
	end

	-- Trim: the oldest events go, the last event always stays. An event's first seq is 1
	-- more than the seq before it. For the compacted events, the script must ask how many
	-- there are.
	local most, most_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
	if old <= upto and (last - old + 1 > most or bytes + old_bytes > most_bytes) then
		local keep, many = old, call('XLEN', compacted) + last - first + 1
		while keep <= upto and (many > most or bytes + old_bytes > most_bytes) do
			local over = math.max(1, math.min(16, many - most))
			local got = call('XRANGE', compacted, format('%d', keep), '+', 'COUNT', over)
			if #got == 0 then keep = upto + 1 end -- something else has deleted the key
			for _, e in ipairs(got) do
				if many <= most and bytes + old_bytes <= most_bytes then break end
				local seq, value = match(e[1], '^%d+'), e[2][2]
				old_bytes = old_bytes - 7 - #seq - #value - (string.byte(value) == 44 and 0 or 8)
				keep, many = tonumber(seq) + 1, many - 1
			end
		end
		if keep > upto then
			call('UNLINK', compacted)
			old_bytes = 0
		elseif keep > old then
			call('XTRIM', compacted, 'MINID', format('%d', keep))
		end
		if keep > old then
			old = keep
			call('HSET', session, 'compacted', format('%d %d %d', upto, old, old_bytes))
		end
	end
	local keep = first
	while keep < last and (last - keep + 1 > most or bytes > most_bytes) do
		local over = math.max(1, math.min(16, last - keep + 1 - most))
		for _, e in ipairs(call('XRANGE', events, format('%d', keep), '+', 'COUNT', over)) do
			if keep == last or (last - keep + 1 <= most and bytes <= most_bytes) then break end
			bytes = bytes - 7 - #format('%d', keep) - #e[2][2]
			keep = keep + 1
		end
	end
	if keep > first then
		call('XTRIM', events, 'MINID', format('%d', keep))
		first = keep
	end
	activity = format('%d', seconds * 1000000 + micros)
end

head = format('%s %d %d %d %d %s %s %s %s %s', version, last, first, bytes, n, assignment, holder, activity, replid, epoch)
if create then
	call('HSET', session, 'head', head, 'state', ARGV[9], 'status', ARGV[12], 'closed', ARGV[13], 'approvals', ARGV[19],
		'user', ARGV[#ARGV])
elseif expect ~= '' then
	call('HSET', session, 'head', head, 'state', ARGV[9], 'status', ARGV[12], 'closed', ARGV[13], 'approvals', ARGV[19])
else
	call('HSET', session, 'head', head)
end
for _ = 1, added_commands do
	call('HSET', commands, ARGV[at], ARGV[at + 1])
	at = at + 2
end
for _ = 1, dropped do
	call('HDEL', commands, ARGV[at])
	at = at + 1
end
for _ = 1, added_notes do
	call('HSET', notes, ARGV[at], format('%d ', begin + tonumber(ARGV[at + 2])) .. ARGV[at + 1])
	at = at + 3
end

for _ = 1, added_parts do
	call('HSET', notes, ARGV[at], ARGV[at + 1])
	at = at + 2
end
for _ = 1, dropped_parts do
	call('HDEL', notes, ARGV[at])
	at = at + 1
end
if expect ~= '' then -- there is a state
	call('HSET', session, 'marks', ARGV[at])
	at = at + 1
end

-- Announce. Long events are announced without their bytes: watchers read them.
local changed = (expect ~= '' or added_commands + dropped > 0) and 1 or 0
if count > 0 or changed == 1 then
	local body, sizes, size = '', '', 0
	for i = 1, count do size = size + lengths[i] end
	if size <= 65536 and count == 1 then
		body, sizes = tails[1], lengths[1]
	elseif size <= 65536 and count > 1 then
		body, sizes = table.concat(tails), table.concat(lengths, ' ')
	end
	call(ARGV[3], string.sub(session, 1, -9), -- without ":session"
		format('%d %d %s %s\n', last, changed, epoch, sizes) .. body)
end
if ARGV[at] then -- the channel of the user, who is told of the session
	call('PUBLISH', ARGV[at], format('s %s %s ', version, epoch) .. string.sub(session, 1, -9))
end
return { begin, last, seconds * 1000000 + micros, epoch }
