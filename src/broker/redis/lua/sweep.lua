-- sweep: deletes, runs or archives the first tasks of a state or group.
-- KEYS  the queue's prefix
-- ARGV  action (d, r, a), now (s), now (ns), archive's size, archive's oldest (s), the
--       container's name, is it a list (1 or 0), group (or ""), at most
-- Returns how many ids were taken off, and how many of them were tasks.
local p, action, now, now_ns = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local from, group = p .. ARGV[6], ARGV[8]

call('LLEN', p .. 'pending')
call('ZCARD', p .. 'archived')
call('SCARD', p .. 'groups')

local function take()
    if ARGV[7] == '1' then return call('RPOP', from, ARGV[9]) or {} end
    local popped, ids = call('ZPOPMIN', from, ARGV[9]), {}
    for i = 1, #popped, 2 do ids[#ids + 1] = popped[i] end
    return ids
end

local ids, done, run = take(), 0, {}
if group ~= '' and call('EXISTS', from) == 0 then call('SREM', p .. 'groups', group) end
for _, id in ipairs(ids) do
    local key = p .. 't:' .. id
    if try('HEXISTS', key, 'msg') ~= 1 then
        if action == 'd' then call('UNLINK', key) end
    else
        done = done + 1
        if action == 'd' then
            free_lock_of(p, key, id)
            call('UNLINK', key)
        elseif action == 'r' then
            call('HSET', key, 'state', 'pending', 'pending_since', now_ns)
            call('HDEL', key, 'result', 'cronq_cancel', 'cronq_deaths')
            run[#run + 1] = id
        else
            call('HSET', key, 'state', 'archived')
            call('HDEL', key, 'cronq_cancel')
            call('ZADD', p .. 'archived', now, id)
        end
    end
end
if #run > 0 then call('LPUSH', p .. 'pending', unpack(run)) end
if action == 'a' then trim_archive(p, ARGV[4], ARGV[5]) end
return {#ids, done}
