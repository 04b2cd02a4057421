-- Reads counters and changes nothing. KEYS: the counters. Reply: this server's time, seconds and microseconds; their values.
local time = redis.call('TIME')
return { tonumber(time[1]), tonumber(time[2]), redis.call('MGET', unpack(KEYS)) }
