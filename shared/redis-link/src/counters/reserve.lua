-- Takes from all of a request's counters, or from none. Time is the server's own. The same arithmetic as
-- `limits::shared::reserve`, against which it is tested; every number stays a whole one below 2^53.
--
-- KEYS: the counters. ARGV: for each eight words: kind, a, b, cost, extra, debt, floor, floor's window.
--   kind 1, rate:   a: nanoseconds for a unit, b: burst. floor: the least that is missing, nanoseconds; -1: not known.
--   kind 2, budget: a: 1 day, 2 month (UTC). b: units in it. floor: the least that is used in the floor's window; -1.
-- `cost` units are needed; `extra` more are taken if everything is admitted, up to half of what is left then. `debt`
-- units were admitted without this script, of a budget in the floor's window; less than 0: given back. A floor counts only
-- where the counter was lost.
-- Reply: the place of the first counter that refuses, or 0; for each counter its time, its reading, and the extra taken.
--   rate: microseconds; nanoseconds missing until it is full.   budget: the window's number; units used.
local time = redis.call('TIME')
local seconds, micros = tonumber(time[1]), tonumber(time[1]) * 1000000 + tonumber(time[2])

local function month_of(days)
  -- Months since year 0, from days since 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms").
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  -- March is the first month of such a year.
  return (yoe + era * 400) * 12 + mp + 2
end

local function read_rate(c, value)
  c.now = micros
  local missing = 0
  if value then
    local tat, fraction, last = string.match(value, '^(%d+):(%d+) (%d+)$')
    c.now = math.max(micros, tonumber(last))
    missing = (tonumber(tat) - c.now) * 1000 + tonumber(fraction)
  else
    missing = c.floor
  end
  c.horizon = c.a * c.b
  missing = math.min(math.max(missing, 0), c.horizon)
  c.reading = math.min(missing + c.debt * c.a, c.horizon)
  c.taken = c.reading + c.cost * c.a
  c.refuses = c.a == 0 or (c.cost > 0 and (c.cost > c.b or c.taken > c.horizon))
end

local function read_budget(c, value)
  local days = math.floor(seconds / 86400)
  c.now = c.a == 1 and days or month_of(days)
  local used = 0
  if value then
    local window, held = string.match(value, '^(%d+) (%d+)$')
    window = tonumber(window)
    if window >= c.now then
      c.now, used = window, tonumber(held)
    end
  elseif c.window == c.now then
    used = math.max(c.floor, 0)
  end
  local debt = c.window == c.now and c.debt or 0
  c.reading = math.max(used + debt, 0)
  c.taken = c.reading + c.cost
  c.refuses = c.cost > 0 and c.taken > c.b
end

local counters, refused = {}, 0
for i = 1, #KEYS do
  local at = (i - 1) * 8
  local c = {
    kind = tonumber(ARGV[at + 1]), a = tonumber(ARGV[at + 2]), b = tonumber(ARGV[at + 3]),
    cost = tonumber(ARGV[at + 4]), extra = tonumber(ARGV[at + 5]), debt = tonumber(ARGV[at + 6]),
    floor = tonumber(ARGV[at + 7]), window = tonumber(ARGV[at + 8]), granted = 0,
  }
  local value = redis.call('GET', KEYS[i])
  if c.kind == 1 then read_rate(c, value) else read_budget(c, value) end
  c.known = value
  if c.refuses and refused == 0 then refused = i end
  counters[i] = c
end

local reply = { refused }
for i, c in ipairs(counters) do
  if refused == 0 then
    c.reading = c.taken
    if c.kind == 1 then
      local left = math.floor((c.horizon - c.reading) / c.a)
      c.granted = math.max(math.min(c.extra, math.floor(left / 2)), 0)
      c.reading = c.reading + c.granted * c.a
    else
      c.granted = math.max(math.min(c.extra, math.floor((c.b - c.reading) / 2)), 0)
      c.reading = c.reading + c.granted
    end
  end
  if refused == 0 or c.debt ~= 0 then
    if c.kind == 1 then
      local whole = math.floor(c.reading / 1000)
      local value = string.format('%.0f:%.0f %.0f', c.now + whole, c.reading - whole * 1000, c.now)
      -- As long as anything is missing, and as long as this server's clock may be behind.
      local life = math.ceil((c.now - micros) / 1000 + c.reading / 1000000) + 1000
      redis.call('SET', KEYS[i], value, 'PX', string.format('%.0f', life))
    else
      local days = c.a == 1 and 2 or 33
      redis.call('SET', KEYS[i], string.format('%.0f %.0f', c.now, c.reading), 'EX', days * 86400)
    end
  end
  reply[#reply + 1] = c.now
  reply[#reply + 1] = c.reading
  reply[#reply + 1] = c.granted
end
return reply
