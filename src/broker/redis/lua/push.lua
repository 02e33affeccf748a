-- push: stores tasks of one queue.
-- KEYS  the queue's prefix, "asynq:{Q}:"
-- ARGV  now (ns), now (s), 1 when all codes are 0, which are then left out, and for each item:
--       id, message, code, and by code: [time to run], [group], [unique key, its seconds],
--       [tick's key], [key of the entry's last run]
-- code  kind (0 now, 1 later, 2 group) + 4 with a group + 8 unique + 16 a tick
--       + 32 not while the last run is not over + 64 sent before
-- Returns "all" when all were stored, else for each item: o stored, e the id exists,
-- d duplicate, s skipped, f the store is full, p and why it can not be, or, when it was sent
-- before and another message is stored: that message after an m.
local call, try = redis.call, redis.pcall
local ARGV, p = ARGV, KEYS[1]
local now_ns, now, plain = ARGV[1], ARGV[2], ARGV[3] == '1'
local TICK_TTL, LAST_TTL = 3600, 7776000

-- Most pushes: tasks to run now and nothing else about them, all of them new. False, with
-- nothing written, when one of them is not.
local function push_new()
    local ids, keys, seen, n = {}, {}, {}, 0
    for at = 4, #ARGV, 2 do
        local id = ARGV[at]
        if seen[id] then return false end
        n = n + 1
        seen[id], ids[n], keys[n] = true, id, p .. 't:' .. id
    end
    call('LLEN', p .. 'pending')
    if call('EXISTS', unpack(keys)) > 0 then return false end
    for i = 1, n do
        call('HSET', keys[i], 'msg', ARGV[3 + 2 * i], 'state', 'pending', 'pending_since', now_ns)
    end
    call('LPUSH', p .. 'pending', unpack(ids))
    return true
end

if plain then
    local ok, all_new = pcall(push_new)
    if ok and all_new then return redis.status_reply('all') end
end

local waiting = {} -- ids that go to pending when all are through

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
        waiting[#waiting + 1] = item.id
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

local at = 4
local function next_item()
    local id, code = ARGV[at], plain and 0 or tonumber(ARGV[at + 2])
    local item = {id = id, key = p .. 't:' .. id, message = ARGV[at + 1], code = code}
    local function argument()
        at = at + 1
        return ARGV[at - 1]
    end
    at = at + (plain and 2 or 3)
    if code % 4 == 1 then item.run_at = argument() end
    if is_set(code, 4) then item.group = argument() end
    if is_set(code, 8) then item.lock, item.ttl = argument(), argument() end
    if is_set(code, 16) then item.tick = argument() end
    if is_set(code, 32) then item.last = argument() end
    return item
end

local reply, count = {}, #ARGV
while at <= count do
    local ok, verdict = pcall(push, next_item())
    reply[#reply + 1] = ok and verdict or failure(verdict)
end
if fatal then return redis.error_reply(fatal) end
if #waiting > 0 then call('LPUSH', p .. 'pending', unpack(waiting)) end
return reply
