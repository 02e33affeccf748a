-- forward: moves due tasks to pending, or to their group.
-- KEYS  the queue's prefix; ARGV  now (s), now (ns), at most
-- Returns the ids taken off scheduled and retry, and how many of them had no task.
local call, try = redis.call, redis.pcall
local p, now, now_ns, left = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local moved, dropped = 0, 0
call('LLEN', p .. 'pending')
call('SCARD', p .. 'groups')

-- A task whose group is broken runs alone.
local function to_group(id, key, group)
    if type(try('ZADD', p .. 'g:' .. group, now, id)) == 'table' then return false end
    call('SADD', p .. 'groups', group)
    call('HSET', key, 'state', 'aggregating')
    return true
end

local function forward(from)
    local due = call('ZRANGEBYSCORE', from, '-inf', now, 'LIMIT', 0, left)
    local run = {}
    if #due == 0 then return end
    for i = 1, #due do
        local id = due[i]
        local key = p .. 't:' .. id
        local fields = try('HMGET', key, 'state', 'group')
        local group = fields[2]
        if not fields[1] or fields.err then
            dropped = dropped + 1
        elseif not group or group == '' or not to_group(id, key, group) then
            call('HSET', key, 'state', 'pending', 'pending_since', now_ns)
            run[#run + 1] = id
        end
    end
    call('ZREM', from, unpack(due))
    if #run > 0 then call('LPUSH', p .. 'pending', unpack(run)) end
    moved, left = moved + #due, left - #due
end

forward(p .. 'scheduled')
if left > 0 then forward(p .. 'retry') end
return {moved, dropped}
