-- remove: removes what an empty queue leaves.
-- KEYS  the queue's prefix; ARGV  names of its daily counters
-- Returns "ok", "active", or "tasks" when there still are some.
local call, p = redis.call, KEYS[1]
if call('LLEN', p .. 'active') > 0 then return 'active' end
if call('LLEN', p .. 'pending') > 0 then return 'tasks' end
for _, name in ipairs({'scheduled', 'retry', 'archived', 'completed', 'aggregation_sets'}) do
    if call('ZCARD', p .. name) > 0 then return 'tasks' end
end
for _, group in ipairs(call('SRANDMEMBER', p .. 'groups', 5000)) do
    if call('ZCARD', p .. 'g:' .. group) > 0 then return 'tasks' end
end
for _, name in ipairs({'pending', 'active', 'lease', 'scheduled', 'retry', 'archived', 'completed',
                       'aggregation_sets', 'groups', 'cronq:groups', 'paused', 'processed',
                       'failed'}) do
    call('UNLINK', p .. name)
end
for i = 1, #ARGV do call('UNLINK', p .. ARGV[i]) end
return 'ok'
