-- check: tells of each suspect what is wrong with it now, and mends it in the same step.
-- KEYS  the queue's prefix
-- ARGV  now (s), now (ns), 1 to mend, end of a lease that is over (s), how far a list is
--       searched from either end; then for each suspect: kind (t task, l lock, g group,
--       s aggregation set, c key), name, and by kind
--       t: the group's key where it was seen, the message that can not be read, what
--          replaces it ("": none), until when it is kept (s)
--       c: its type
-- Returns for each: the finding's name or "", 1 when it was mended, places or state.
local call, try = redis.call, redis.pcall
local p, now, now_ns, mend, over = KEYS[1], ARGV[1], ARGV[2], ARGV[3] == '1', ARGV[4]
local far = tonumber(ARGV[5])
local ASIDE_TTL, DAY = 7776000, 86400
local LISTS, ZSETS = {'pending', 'active'}, {'scheduled', 'retry', 'archived', 'completed'}
local HOME = {pending = 'pending', active = 'active', scheduled = 'scheduled', retry = 'retry',
              archived = 'archived', completed = 'completed'}

local function score(place, id)
    local s = try('ZSCORE', p .. place, id)
    return type(s) == 'string' and s
end

local function starts(text, head)
    return string.sub(text, 1, #head) == head
end

-- A key of another type keeps what it holds, under a name that nobody reads.
local function set_aside(name)
    local aside = p .. 'cronq:broken:' .. name .. ':' .. now
    call('RENAME', p .. name, aside)
    call('EXPIRE', aside, ASIDE_TTL)
end

-- Where in a list it is, at most twice; true when the list is too long to tell.
local function in_list(list, id, at)
    local key = p .. list
    if call('TYPE', key).ok ~= 'list' then return false end
    local length, seen, n = call('LLEN', key), {}, 0
    for rank = 1, length > far and -1 or 1, -2 do
        for _, i in ipairs(call('LPOS', key, id, 'RANK', rank, 'COUNT', 2, 'MAXLEN', far)) do
            if not seen[i] then
                seen[i], n = true, n + 1
                at[#at + 1] = {name = list, side = 2 * i < length and 1 or -1}
            end
        end
    end
    return n == 0 and length > 2 * far
end

local function in_sets(id, group, seen, at)
    local homes = {}
    if group then homes['g:' .. group] = true end
    if seen ~= '' then homes[seen] = true end
    local sets = group and try('ZRANGE', p .. 'aggregation_sets', 0, 999) or {}
    for i = 1, #sets do
        if starts(sets[i], p .. 'g:' .. group .. ':') then
            homes[string.sub(sets[i], #p + 1)] = true
        end
    end
    for home in pairs(homes) do
        local s = score(home, id)
        if s then at[#at + 1] = {name = home, score = s} end
    end
end

local function places(id, group, seen)
    local at, unsure = {}, false
    for _, list in ipairs(LISTS) do unsure = in_list(list, id, at) or unsure end
    for _, zset in ipairs(ZSETS) do
        local s = score(zset, id)
        if s then at[#at + 1] = {name = zset, score = s} end
    end
    in_sets(id, group, seen, at)
    return at, unsure
end

local function names(at)
    local list = {}
    for i = 1, #at do list[i] = at[i].name end
    return table.concat(list, ' ')
end

local function take_out(at, id)
    for i = 1, #at do
        if at[i].side then
            call('LREM', p .. at[i].name, at[i].side, id)
        else
            call('ZREM', p .. at[i].name, id)
        end
    end
end

local function drop_lease(id)
    if score('lease', id) then call('ZREM', p .. 'lease', id) end
end

local function put(id, key, state, group, till)
    if state == 'active' then
        call('LPUSH', p .. 'active', id)
        call('ZADD', p .. 'lease', 'NX', over, id)
    elseif state == 'scheduled' or state == 'retry' or state == 'archived' then
        call('ZADD', p .. state, now, id)
    elseif state == 'completed' then
        call('ZADD', p .. state, till ~= '' and till or now, id)
    elseif state == 'aggregating' and group then
        call('ZADD', p .. 'g:' .. group, now, id)
        call('SADD', p .. 'groups', group)
    else
        call('HSET', key, 'state', 'pending')
        call('HSETNX', key, 'pending_since', now_ns)
        call('RPUSH', p .. 'pending', id)
    end
end

local function quarantine(id, key, is_hash, at, replacement)
    local raw = is_hash and call('HGET', key, 'msg') or ''
    take_out(at, id)
    drop_lease(id)
    if not is_hash then call('UNLINK', key) end
    call('HSET', key, 'msg', replacement, 'state', 'archived', 'raw', raw)
    call('HDEL', key, 'pending_since', 'cronq_started', 'cronq_deaths')
    call('ZADD', p .. 'archived', now, id)
end

-- Of several places: where it runs, else where its state says, else the first.
local function best_of(at, state, lease)
    local best = 1
    for i = #at, 1, -1 do
        if (HOME[at[i].name] or 'aggregating') == state then best = i end
    end
    for i = 1, #at do
        if at[i].name == 'active' and lease then best = i end
    end
    return best
end

local function move_in(key, place, state, group)
    call('HSET', key, 'state', state)
    if state == 'pending' then call('HSETNX', key, 'pending_since', now_ns) end
    if state == 'aggregating' and not group then
        call('HSET', key, 'group', string.sub(place.name, 3))
    end
end

local function endless(s)
    return s == 'inf' or s == '-inf'
end

-- Of a task that is in one place, and whose message is as it should be.
local function settled(id, key, place, state, group)
    local home, lease = HOME[place.name] or 'aggregating', score('lease', id)
    local strays = home == 'aggregating' and
        not (group and (place.name == 'g:' .. group or starts(place.name, 'g:' .. group .. ':')))
    if home ~= state or strays then
        if mend and strays and group then call('HDEL', key, 'group') end
        if mend then move_in(key, place, home, not strays and group) end
        return 'misplaced', (state or '?') .. ' but in ' .. place.name
    end
    if home == 'active' and not lease then
        if mend then call('ZADD', p .. 'lease', 'NX', over, id) end
        return 'no-lease', ''
    end
    if home == 'active' and (endless(lease) or tonumber(lease) > now + DAY) then
        if mend then call('ZADD', p .. 'lease', over, id) end
        return 'time', 'lease ' .. lease
    end
    if home ~= 'active' and lease then
        if mend then call('ZREM', p .. 'lease', id) end
        return 'stray-lease', home
    end
    if place.score and endless(place.score) then
        if mend then call('ZADD', p .. place.name, now, id) end
        return 'time', place.name .. ' ' .. place.score
    end
end

local function gone(id, key, is_hash, seen)
    local at, unsure = places(id, nil, seen)
    local lease = score('lease', id)
    if #at == 0 and not lease then
        if not is_hash or unsure then return end
        if mend then call('UNLINK', key) end
        return 'no-message', ''
    end
    if mend then
        take_out(at, id)
        drop_lease(id)
        if is_hash then call('UNLINK', key) end
    end
    return 'no-task', #at > 0 and names(at) or 'lease'
end

local function task(id, seen, bad, replacement, till)
    local key = p .. 't:' .. id
    local kind = call('TYPE', key).ok
    local is_hash = kind == 'hash'
    local fields = is_hash and call('HMGET', key, 'state', 'group') or {}
    local state, group = fields[1], fields[2]
    if kind == 'none' or is_hash and call('HEXISTS', key, 'msg') == 0 then
        return gone(id, key, is_hash, seen)
    end
    if group == '' then group = false end
    local at, unsure = places(id, group, seen)
    if replacement ~= '' and (not is_hash or call('HGET', key, 'msg') == bad) then
        if mend then quarantine(id, key, is_hash, at, replacement) end
        return 'corrupt', state or ''
    end
    if not is_hash then return end
    if #at == 0 then
        if unsure then return end
        if mend then put(id, key, state, group, till) end
        return 'lost', state or ''
    end
    if #at > 1 then
        local detail = names(at)
        table.remove(at, best_of(at, state, score('lease', id)))
        if mend then take_out(at, id) end
        return 'twice', detail
    end
    return settled(id, key, at[1], state, group)
end

local function lock(name)
    local holder = try('GET', p .. name)
    if not holder then return end
    if type(holder) == 'table' then
        if mend then set_aside(name) end
        return 'type', ''
    end
    if call('EXISTS', p .. 't:' .. holder) == 1 then return end
    if mend then call('DEL', p .. name) end
    return 'lock', holder
end

local function key_of_type(name, kind)
    local is = call('TYPE', p .. name).ok
    if is == 'none' or is == kind then return end
    if mend then set_aside(name) end
    return 'type', is
end

-- "GROUP:UUID" is a set of its tasks' group, any other name a group's.
local function group(name)
    local key = p .. 'g:' .. name
    local is = call('TYPE', key).ok
    if is == 'none' then return end
    if is ~= 'zset' then return key_of_type('g:' .. name, 'zset') end
    if try('SISMEMBER', p .. 'groups', name) == 1 or score('aggregation_sets', key) then return end
    if mend then
        local theirs = try('HGET', p .. 't:' .. call('ZRANGE', key, 0, 0)[1], 'group')
        if type(theirs) == 'string' and #name == #theirs + 37 and starts(name, theirs .. ':') then
            call('ZADD', p .. 'aggregation_sets', now, key)
        else
            call('SADD', p .. 'groups', name)
        end
    end
    return 'group', ''
end

local function set(member)
    if not starts(member, p) or call('EXISTS', member) == 1 then return end
    if not score('aggregation_sets', member) then return end
    if mend then call('ZREM', p .. 'aggregation_sets', member) end
    return 'set', ''
end

local KINDS = {t = task, l = lock, g = group, s = set, c = key_of_type}
local out, rows = {}, 0
for i = 6, #ARGV, 6 do
    local ok, finding, detail =
        pcall(KINDS[ARGV[i]], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5])
    if not ok then finding, detail = 'type', type(finding) == 'table' and finding.err or finding end
    out[rows + 1], out[rows + 2] = finding or '', ok and finding and mend and '1' or '0'
    out[rows + 3] = detail or ''
    rows = rows + 3
end
return out
