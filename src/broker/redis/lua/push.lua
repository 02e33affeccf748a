-- push: stores tasks of one queue.
-- KEYS  the queue's prefix, "asynq:{Q}:"
-- ARGV  now (ns), now (s), then for each item: id, message, code, and by code: [time to run],
--       [group], [unique key, its seconds], [tick's key], [key of the entry's last run]
-- code  kind (0 now, 1 later, 2 group) + 4 with a group + 8 unique + 16 a tick
--       + 32 not while the last run is not over + 64 sent before
-- Returns for each item: o stored, e the id exists, d duplicate, s skipped, f the store is
-- full, p and why it can not be, or, when it was sent before and another message is stored: that message
-- after an m.
local call, try = redis.call, redis.pcall
local ARGV, p = ARGV, KEYS[1]
local now_ns, now = ARGV[1], ARGV[2]
local TICK_TTL, LAST_TTL = 3600, 7776000
local waiting, waiting_count = {}, 0 -- ids that go to pending when all are through

local function wait_in_line(id)
    waiting_count = waiting_count + 1
    waiting[waiting_count] = id
end

-- A verdict from an error. What the whole store refuses (it is a replica, it can not
-- save) it refuses before the first write, so nothing has been stored: fatal then.
local fatal
local function failure(err)
    local text = type(err) == 'table' and err.err or err
    local coded = string.match(text, '%u%u+ .*')
    local word = coded and string.match(coded, '^%u+')
    if word == 'OOM' then return 'f' end
    if word and word ~= 'WRONGTYPE' and word ~= 'ERR' then fatal = coded end
    return 'p' .. text
end

-- Is pending a list? Asked once, before anything is written.
local broken = try('LLEN', p .. 'pending')
broken = type(broken) == 'table' and broken.err

-- Is the task with this id still to run or running?
local function unfinished(id)
    local state = id and try('HGET', p .. 't:' .. id, 'state')
    return type(state) == 'string' and state ~= 'archived' and state ~= 'completed'
end

local function is_set(code, bit)
    return code % (2 * bit) >= bit
end

-- Is it in already? Reads only.
local function refused(item)
    local again = is_set(item.code, 64)
    if item.tick then
        local holder = call('GET', item.tick)
        if holder then return again and holder == item.id and 'o' or 'd' end
    end
    if item.lock then
        local holder = call('GET', item.lock)
        if holder then return again and holder == item.id and 'o' or 'd' end
    end
    if call('EXISTS', item.key) == 1 then
        if not again then return 'e' end
        local stored = try('HGET', item.key, 'msg')
        if stored == item.message then return 'o' end
        return type(stored) == 'string' and 'm' .. stored or 'e'
    end
    if item.last and unfinished(call('GET', item.last)) then return 's' end
end

local CHECK = {
    [0] = function() if broken then error(broken, 0) end end,
    [1] = function(item)
        call('ZCARD', p .. 'scheduled')
        if item.group then
            call('SCARD', p .. 'groups')
            call('ZCARD', p .. 'cronq:groups')
        end
    end,
    [2] = function(item)
        call('ZCARD', p .. 'g:' .. item.group)
        call('SCARD', p .. 'groups')
    end,
}

local STORE = {
    [0] = function(item, fields)
        call('HSET', item.key, 'msg', item.message, 'state', 'pending', 'pending_since', now_ns,
             unpack(fields))
        wait_in_line(item.id)
    end,
    [1] = function(item, fields)
        call('HSET', item.key, 'msg', item.message, 'state', 'scheduled', unpack(fields))
        call('ZADD', p .. 'scheduled', item.run_at, item.id)
        if item.group then
            call('SADD', p .. 'groups', item.group)
            call('ZADD', p .. 'cronq:groups', 'GT', item.run_at, item.group)
        end
    end,
    [2] = function(item, fields)
        call('HSET', item.key, 'msg', item.message, 'state', 'aggregating', unpack(fields))
        call('ZADD', p .. 'g:' .. item.group, now, item.id)
        call('SADD', p .. 'groups', item.group)
    end,
}

local function push(item)
    local kind, fields = item.code % 4, {}
    CHECK[kind](item)
    local verdict = refused(item)
    if verdict == 's' then call('SET', item.tick, '', 'EX', TICK_TTL) end
    if verdict then return verdict end
    if item.lock then
        call('SET', item.lock, item.id, 'EX', item.ttl)
        if kind ~= 2 then fields = {'unique_key', item.lock} end -- as the reference does
    end
    if item.group then
        fields[#fields + 1], fields[#fields + 2] = 'group', item.group
    end
    STORE[kind](item, fields)
    if item.tick then call('SET', item.tick, item.id, 'EX', TICK_TTL) end
    if item.last then call('SET', item.last, item.id, 'EX', LAST_TTL) end
    return 'o'
end

local at = 3
local function next_item()
    local id, code = ARGV[at], tonumber(ARGV[at + 2])
    local item = {id = id, key = p .. 't:' .. id, message = ARGV[at + 1], code = code}
    local function argument()
        at = at + 1
        return ARGV[at - 1]
    end
    at = at + 3
    if code % 4 == 1 then item.run_at = argument() end
    if is_set(code, 4) then item.group = argument() end
    if is_set(code, 8) then item.lock, item.ttl = argument(), argument() end
    if is_set(code, 16) then item.tick = argument() end
    if is_set(code, 32) then item.last = argument() end
    return item
end

-- A task to run now, with nothing else about it: most are.
local function push_plain(id, message)
    local key = p .. 't:' .. id
    if broken then return failure(broken) end
    if call('EXISTS', key) == 1 then return 'e' end
    local stored = try('HSET', key, 'msg', message, 'state', 'pending', 'pending_since', now_ns)
    if type(stored) == 'table' then return failure(stored) end
    wait_in_line(id)
    return 'o'
end

local reply, n, count = {}, 0, #ARGV
while at <= count do
    n = n + 1
    if ARGV[at + 2] == '0' then
        reply[n] = push_plain(ARGV[at], ARGV[at + 1])
        at = at + 3
    else
        local ok, verdict = pcall(push, next_item())
        reply[n] = ok and verdict or failure(verdict)
    end
end
if fatal then return redis.error_reply(fatal) end
if waiting_count > 0 then call('LPUSH', p .. 'pending', unpack(waiting)) end
return reply
