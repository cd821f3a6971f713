-- What all settling begins with: `ours` gets the entries that are still the caller's, from the first id to
-- the last, each with how often it was delivered. XACK does not check the owner.
local ours = {}
local function find(lane, group, me, first, last)
  for _, one in ipairs(redis.call('XPENDING', lane, group, first, last, 1000000, me)) do
    ours[one[1]] = one[4]
  end
end
