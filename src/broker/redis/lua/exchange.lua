-- exchange: writes outcomes of finished tasks, then takes new ones.
-- KEYS  prefixes of queues, "asynq:{Q}:"
-- ARGV  now (s), lease score, date, end of the day's counters (s), archive's size, archive's
--       oldest (s), budget, number of sections; then for each section: key's index, its
--       arguments' count, outcomes' count, and for each outcome: id, code, then by kind
--       [message], [time], [failure], [unique key]; then number of wants, and (key's index, share)s.
-- code  kind (0 done, 1 complete, 2 retry, 3 archive, 4 give back) + 8 with a unique key
--       + 16 young (look from the head of active) + 32 counts as failure + 64 k
-- Returns a string with a letter for each outcome (o written, s not ours, c a retry or
-- give back of a cancelled task: not written, p queue is broken), number of ids dropped, a
-- broken queue's error or "", and for each portion taken: key's index, count, the first
-- one's pending_since or "", and (id, message)s.
local floor = math.floor
local ARGV, KEYS, unpack = ARGV, KEYS, unpack
local now, score, date, day_end = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local budget, sections = tonumber(ARGV[7]), tonumber(ARGV[8])
local ARGUMENTS = {[0] = 0, [1] = 2, [2] = 3, [3] = 2, [4] = 0, [8] = 1, [9] = 3}
local complaint, settled = '', {}

local function rewrite(key, message, state)
    try('HSET', key, 'msg', message, 'state', state)
    try('HDEL', key, 'pending_since', 'cronq_started', 'cronq_deaths', 'cronq_cancel')
end

-- Everything that may be of a wrong type is read before anything is written.
local function check(p, active, kinds)
    local length = call('LLEN', active)
    if kinds[1] then call('ZCARD', p .. 'completed') end
    if kinds[2] then call('ZCARD', p .. 'retry') end
    if kinds[3] then call('ZCARD', p .. 'archived') end
    if kinds[4] then call('LLEN', p .. 'pending') end
    return length
end

-- Take out what lies together near the head of a long list: off with all down to the
-- oldest of it, and back with what is not of it. Returns which of ids are out.
local function remove_near_head(active, ids, n)
    local depth = call('LPOS', active, ids[1], 'MAXLEN', 4 * n)
    if not depth then return {} end
    local out, back = {}, {}
    for i = 1, n do out[ids[i]] = false end
    local head = call('LPOP', active, depth + 1)
    for i = #head, 1, -1 do
        local id = head[i]
        if out[id] == false then
            out[id] = true
        else
            back[#back + 1] = id
        end
    end
    if #back > 0 then call('LPUSH', active, unpack(back)) end
    return out
end

-- Take ids out of active. What ends in the order in which it was taken is at the tail, the
-- oldest last, and goes in one cut. Of the rest the oldest are near the tail; but where
-- many older ones stay, what is young is nearer to the head.
local function remove(active, ids, young, n, length)
    local cut = 0
    if n > 3 and call('LINDEX', active, -1) == ids[1] then
        local tail = call('LRANGE', active, -n, -1)
        local last = #tail + 1
        repeat
            cut = cut + 1
        until cut == n or tail[last - cut - 1] ~= ids[cut + 1]
        call('LTRIM', active, 0, -cut - 1)
    end
    local crowded = length > 4 * n + 100
    local out = crowded and cut == 0 and n > 15 and young[1] and
        remove_near_head(active, ids, n) or {}
    for i = cut + 1, n do
        if not out[ids[i]] then
            call('LREM', active, crowded and young[i] and 1 or -1, ids[i])
        end
    end
end

-- Which outcomes are ours to write. Codes and scores are mostly the same all along.
local function judge(p, t, ids, codes, scores)
    local status, gone, young, written = {}, {}, {}, 0
    local last_code, last_score, fence, fraction, undone, is_young
    for i = 1, #ids do
        local code, score = codes[i], scores[i]
        if code ~= last_code then
            last_code, fence = code, floor(code / 64) / 1048576
            undone, is_young = code % 8 == 2 or code % 8 == 4, code % 32 >= 16
        end
        if score ~= last_score then
            last_score, fraction = score, score and score % 1
        end
        if not score or fence == 0 or fraction ~= fence then
            status[i] = 's'
        elseif undone and try('HEXISTS', t .. ids[i], 'cronq_cancel') == 1 then
            status[i] = 'c'
        else
            status[i] = 'o'
            written = written + 1
            gone[written], young[written] = ids[i], is_young
        end
    end
    return status, gone, young, written
end

local function settle(p, at, n)
    local ids, codes, first, kinds = {}, {}, {}, {}
    local last, code
    for i = 1, n do
        local text = ARGV[at + 1]
        if text ~= last then
            last, code = text, tonumber(text)
            kinds[code % 8] = true
        end
        ids[i], codes[i], first[i] = ARGV[at], code, at + 2
        at = at + 2 + ARGUMENTS[code % 16]
    end
    local active, lease, t = p .. 'active', p .. 'lease', p .. 't:'
    local scores = call('ZMSCORE', lease, unpack(ids))
    local length = check(p, active, kinds)
    local status, gone, young, written = judge(p, t, ids, codes, scores)
    if written == 0 then return status end
    remove(active, gone, young, written, length)
    call('ZREM', lease, unpack(gone))
    local dead, back = {}, {}
    local processed, failed = 0, 0
    for i = 1, n do
        if status[i] == 'o' then
            local id, a = ids[i], first[i]
            code = codes[i]
            local kind = code % 8
            if kind == 0 then
                dead[#dead + 1] = t .. id
                if code % 16 >= 8 then free_lock(ARGV[a], id) end
            elseif kind == 1 then
                rewrite(t .. id, ARGV[a], 'completed')
                call('ZADD', p .. 'completed', ARGV[a + 1], id)
                processed = processed + 1
                if code % 16 >= 8 then free_lock(ARGV[a + 2], id) end
            elseif kind == 2 then
                rewrite(t .. id, ARGV[a], 'retry')
                remember(t .. id, ARGV[a + 2])
                call('ZADD', p .. 'retry', ARGV[a + 1], id)
                if code % 64 >= 32 then processed, failed = processed + 1, failed + 1 end
            elseif kind == 3 then
                rewrite(t .. id, ARGV[a], 'archived')
                remember(t .. id, ARGV[a + 1])
                call('ZADD', p .. 'archived', now, id)
                processed, failed = processed + 1, failed + 1
            else
                try('HSET', t .. id, 'state', 'pending')
                try('HDEL', t .. id, 'cronq_started')
                table.insert(back, 1, id)
            end
        end
    end
    if #dead > 0 then call('UNLINK', unpack(dead)) end
    if #back > 0 then call('RPUSH', p .. 'pending', unpack(back)) end
    processed = processed + #dead
    if processed > 0 then count(p, processed, failed, date, day_end) end
    if kinds[3] then trim_archive(p, ARGV[5], ARGV[6]) end
    return status
end

local reply = {'', 0, ''}

-- A small sorted set is kept as text, where each of these scores is parsed again for each
-- that is added. A long member, there for a moment, turns it into a tree for good.
local LONG = string.rep('-', 100)
local function add_leases(lease, leases)
    if #leases < 32 then return call('ZADD', lease, unpack(leases)) end
    leases[#leases + 1], leases[#leases + 2] = score, LONG
    call('ZADD', lease, unpack(leases))
    call('ZREM', lease, LONG)
end

-- Take up to want ids off pending; ids without a task are dropped.
local function take(k, want)
    local p = KEYS[k]
    local t, n, leases, ids = p .. 't:', 0, {}, {}
    local popped = call('RPOP', p .. 'pending', want)
    if not popped then return 0 end
    local top = #reply
    reply[top + 1] = k
    local r = top + 3
    for i = 1, #popped do
        local id = popped[i]
        local key, message = t .. id, nil
        if n == 0 then
            local fields = try('HMGET', key, 'msg', 'pending_since')
            message = fields[1]
            reply[top + 3] = fields[2] or ''
        else
            message = try('HGET', key, 'msg')
        end
        if type(message) == 'string' then
            call('HSET', key, 'state', 'active')
            n = n + 1
            ids[n] = id
            leases[2 * n - 1], leases[2 * n] = score, id
            reply[r + 1], reply[r + 2] = id, message
            r = r + 2
        end
    end
    reply[top + 2] = n
    reply[2] = reply[2] + #popped - n
    if n > 0 then
        call('LPUSH', p .. 'active', unpack(ids))
        add_leases(p .. 'lease', leases)
    end
    if n < #popped then return n + take(k, want - n) end
    return n
end

-- Does the queue hold anything that may be taken? Reads the types of what take writes,
-- unless its outcomes were written: then they are right.
local function ready(p)
    if call('LLEN', p .. 'pending') == 0 then return false end
    if not settled[p] then
        call('LLEN', p .. 'active')
        call('ZCARD', p .. 'lease')
    end
    return call('EXISTS', p .. 'paused') == 0
end

local function complain(err)
    complaint = type(err) == 'table' and err.err or err
end

local at, statuses = 9, {}
for _ = 1, sections do
    local key, size, n = KEYS[tonumber(ARGV[at])], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    local ok, status = pcall(settle, key, at + 3, n)
    if ok then
        settled[key] = true
        statuses[#statuses + 1] = table.concat(status)
    else
        complain(status)
        statuses[#statuses + 1] = string.rep('p', n)
    end
    at = at + 3 + size
end
reply[1] = table.concat(statuses)

-- First everyone's share, then what is left in order of preference.
local wants = budget > 0 and tonumber(ARGV[at]) or 0
local open = {}
for i = 1, wants do
    local k = tonumber(ARGV[at + 2 * i - 1])
    local ok, is_open = pcall(ready, KEYS[k])
    if not ok then complain(is_open) end
    open[i] = ok and is_open
end
for pass = 1, 2 do
    for i = 1, wants do
        if budget == 0 then break end
        local want = pass == 1 and math.min(tonumber(ARGV[at + 2 * i]), budget) or budget
        if open[i] and want > 0 then
            local n = take(tonumber(ARGV[at + 2 * i - 1]), want)
            budget = budget - n
            open[i] = n == want
        end
    end
end
reply[3] = complaint
return reply
