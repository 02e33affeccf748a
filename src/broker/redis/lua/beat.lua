-- beat: what a server tells about itself and its workers.
-- KEYS  the server's key, its workers' key
-- ARGV  seconds to live, the server, then (task id, worker)s
redis.call('SETEX', KEYS[1], ARGV[1], ARGV[2])
redis.call('DEL', KEYS[2])
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
if #ARGV > 2 then redis.call('EXPIRE', KEYS[2], ARGV[1]) end
return redis.status_reply('OK')
