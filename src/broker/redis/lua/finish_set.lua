-- finish_set: puts a merged task in the place of the tasks of a set.
-- KEYS  the queue's prefix
-- ARGV  group, set's id, now (s), now (ns), archive's size, archive's oldest (s), merged
--       message ("" none), then of tasks that do not fit: id, message
-- Returns 1, or 0 when there is no such set.
local p, now = KEYS[1], ARGV[3]
local sets, set = p .. 'aggregation_sets', p .. 'g:' .. ARGV[1] .. ':' .. ARGV[2]
local merged, misfits = p .. 't:' .. ARGV[2], {}
if not call('ZSCORE', sets, set) then return 0 end
call('LLEN', p .. 'pending')
call('ZCARD', p .. 'archived')
for i = 8, #ARGV, 2 do misfits[ARGV[i]] = ARGV[i + 1] end

for _, id in ipairs(call('ZRANGE', set, 0, -1)) do
    local key = p .. 't:' .. id
    if misfits[id] then
        local raw = try('HGET', key, 'msg')
        if type(raw) ~= 'string' then
            call('UNLINK', key)
            raw = ''
        end
        call('HSET', key, 'msg', misfits[id], 'state', 'archived', 'raw', raw)
        call('ZADD', p .. 'archived', now, id)
    else
        free_lock_of(p, key, id)
        call('UNLINK', key)
    end
end
call('UNLINK', set)
call('ZREM', sets, set)
if ARGV[7] ~= '' and call('EXISTS', merged) == 0 then
    call('HSET', merged, 'msg', ARGV[7], 'state', 'pending', 'pending_since', ARGV[4])
    call('LPUSH', p .. 'pending', ARGV[2])
end
if #ARGV > 7 then trim_archive(p, ARGV[5], ARGV[6]) end
return 1
