-- entries: what a scheduler tells about its entries.
-- KEYS  the scheduler's key; ARGV  seconds to live, then entries
redis.call('DEL', KEYS[1])
for i = 2, #ARGV do redis.call('LPUSH', KEYS[1], ARGV[i]) end
if #ARGV > 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return redis.status_reply('OK')
