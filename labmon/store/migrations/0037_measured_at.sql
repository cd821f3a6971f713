-- When the newest reading came, at the latest. `last_collected` is what the machine's or the collector's clock said, and
-- names the reading; where that clock was ahead, this is older. What asks whether a machine is still measured uses
-- labmon_measured, which is the earlier of both.
ALTER TABLE systems ADD COLUMN measured_at timestamptz;
UPDATE systems SET measured_at = LEAST(last_collected, now()) WHERE last_collected > now();
