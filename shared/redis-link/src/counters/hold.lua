-- Gives a proxy the permits it needs of every limit of what runs at once, or none of any. Time is the server's own. The same
-- as `limits::running::hold`, against which it is tested.
--
-- KEYS: the pools; each a hash of holders, "units until turn", of 'lost', the same, and of 'short'. ARGV: this proxy's name;
-- how long a lease lasts, microseconds; then for each pool six words: max, running, claimed, extra, turn, least (-1: not known).
-- Reply: the place of the first pool that refuses, or 0; for each pool what is held, what the others hold, whether it is short.
local time = redis.call('TIME')
local micros = tonumber(time[1]) * 1000000 + tonumber(time[2])
local holder, lease = ARGV[1], tonumber(ARGV[2])
local latest = micros + lease

local function write(key, name, held)
  redis.call('HSET', key, name, string.format('%.0f %.0f %.0f', held.units, held.till, held.turn))
end

-- What has run out goes, and nothing lasts longer than a lease from now.
local function read(key)
  local pool = { holders = {}, short = false, any = false }
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local name, value = all[i], all[i + 1]
    if name == 'short' then
      pool.short = true
    else
      local units, till, turn = string.match(value, '^(%d+) (%d+) (%d+)$')
      local held = { units = tonumber(units), till = tonumber(till), turn = tonumber(turn) }
      if held.till > latest then
        held.till = latest
        write(key, name, held)
      end
      if held.till <= micros then
        redis.call('HDEL', key, name)
      elseif name == 'lost' then
        pool.lost = held
      else
        pool.holders[name] = held
        pool.any = true
      end
    end
  end
  if pool.short and not pool.any then
    pool.short = false
    redis.call('HDEL', key, 'short')
  end
  return pool
end

local function others(pool)
  local sum = pool.lost and pool.lost.units or 0
  for name, held in pairs(pool.holders) do
    if name ~= holder then sum = sum + held.units end
  end
  return sum
end

local asks, refused = {}, 0
for i = 1, #KEYS do
  local at = 2 + (i - 1) * 6
  local a = {
    max = tonumber(ARGV[at + 1]), running = tonumber(ARGV[at + 2]), claimed = tonumber(ARGV[at + 3]),
    extra = tonumber(ARGV[at + 4]), turn = tonumber(ARGV[at + 5]), least = tonumber(ARGV[at + 6]),
  }
  local pool = read(KEYS[i])
  a.pool, a.before = pool, pool.holders[holder]
  local had_lost = pool.lost ~= nil
  if not a.before then
    -- What this proxy tells now need not be feared any more; what it knows of the others and this server does not, need.
    if pool.lost then pool.lost.units = math.max(pool.lost.units - a.running, 0) end
    local missing = a.least - others(pool)
    if missing > 0 then
      pool.lost = { units = (pool.lost and pool.lost.units or 0) + missing, till = latest, turn = 0 }
    end
  end
  if pool.lost and pool.lost.units > 0 then
    if not a.before then write(KEYS[i], 'lost', pool.lost) end
  elseif had_lost then
    pool.lost = nil
    redis.call('HDEL', KEYS[i], 'lost')
  end
  a.others = others(pool)
  a.free = math.max(a.max - a.others, 0)
  if refused == 0 and a.claimed > 0 and a.running + a.claimed > a.free then refused = i end
  asks[i] = a
end

local reply = { refused }
for i, a in ipairs(asks) do
  local had, turn = a.before and a.before.units or 0, a.before and a.before.turn or -1
  local units = 0
  if refused ~= 0 then
    units = math.max(had, a.running)
  elseif a.claimed > 0 then
    local needed = a.running + a.claimed
    units = math.max(had, needed + math.min(a.extra, math.floor(math.max(a.free - needed, 0) / 2)))
  else
    units = math.max(a.running, math.min(a.running + a.extra, a.free))
    if a.turn <= turn then units = math.max(had, units) end
  end
  write(KEYS[i], holder, { units = units, till = latest, turn = math.max(turn, a.turn) })
  if refused == i then
    a.pool.short = true
    redis.call('HSET', KEYS[i], 'short', 1)
  elseif a.pool.short and a.others + units <= math.floor(a.max / 2) then
    a.pool.short = false
    redis.call('HDEL', KEYS[i], 'short')
  end
  redis.call('PEXPIRE', KEYS[i], string.format('%.0f', lease / 1000 + 1000))
  reply[#reply + 1] = units
  reply[#reply + 1] = a.others
  reply[#reply + 1] = a.pool.short and 1 or 0
end
return reply
