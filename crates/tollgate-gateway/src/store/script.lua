-- Balances of Tollgate, version 1. The same arithmetic stands in tollgate-limit/src/central.rs; a test holds one against
-- the other. Amounts are integers: microseconds of refill for a rate, units for a quota.
--
-- ARGV[1] = charge | settle | beat | leave | read | write
--   charge, settle: KEYS are balances, at most 8; seven arguments for each: kind (r, q), act (c charge, d debit, g give back),
--     want, least, bound (r: burst, q: max), span (r: burst and debt together, q: milliseconds to keep), floor
--     charge takes all or nothing: {0, granted, standing, ...} or {i, wait, standing of i}
--   beat, leave: KEYS[1] is the set of nodes; ARGV[2] the node, ARGV[3] microseconds until it is forgotten: {how many}
--   read, write: KEYS[1] is a text. write: ARGV[2] what was read, ARGV[3] what it becomes, ARGV[4] for how many milliseconds:
--     1, or 0 if it is not what was read any more
if ARGV[1] == 'read' or ARGV[1] == 'write' then
  local text = redis.call('GET', KEYS[1]) or ''
  if ARGV[1] == 'read' then
    return text
  elseif text ~= ARGV[2] then
    return 0
  end
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
  return 1
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

if ARGV[1] == 'beat' or ARGV[1] == 'leave' then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
  if ARGV[1] == 'beat' then
    redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[3])), ARGV[2])
    redis.call('PEXPIRE', KEYS[1], 60000)
  else
    redis.call('ZREM', KEYS[1], ARGV[2])
  end
  return { redis.call('ZCARD', KEYS[1]) }
end

local answer, plan = { 0 }, {}
for i = 1, #KEYS do
  local at = 2 + (i - 1) * 7
  local rate, act = ARGV[at] == 'r', ARGV[at + 1]
  local want, least = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local bound, span, floor = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6])
  local stored = tonumber(redis.call('GET', KEYS[i]) or '0')
  local stands = stored
  if rate then
    -- A time beyond the span comes from a clock that leapt, or from a larger burst: it is cut.
    stands = math.min(math.max(stored - now, 0), span)
    floor = math.min(floor, span)
  end
  stands = math.max(stands, floor)
  local granted, next = want, stands
  if act == 'c' then
    granted = math.min(want, math.max(bound - stands, 0))
    if granted < least or granted <= 0 then
      return { i, math.max(least - (bound - stands), 0), stands }
    end
    next = stands + granted
  elseif act == 'd' then
    next = stands + want
    if rate then
      next = math.max(math.min(next, span), stands)
    end
  else
    next = math.max(stands - want, 0)
  end
  answer[#answer + 1], answer[#answer + 2] = granted, next
  plan[i] = { rate, next, span }
end
for i = 1, #KEYS do
  local rate, next, span = plan[i][1], plan[i][2], plan[i][3]
  if next <= 0 then
    redis.call('DEL', KEYS[i])
  elseif rate then
    redis.call('SET', KEYS[i], string.format('%.0f', now + next), 'PX', math.ceil(next / 1000))
  else
    redis.call('SET', KEYS[i], string.format('%.0f', next), 'PX', span)
  end
end
return answer
