-- How a machine fares, since when, and what was wrong.

-- status_since: when it became so; NULL for one that was only ever discovered.
-- status_at: the newest word on it. What is older, and comes late or again, changes nothing.
ALTER TABLE systems
    DROP CONSTRAINT systems_status_check,
    ADD CONSTRAINT systems_status_check CHECK (status IN (
        'discovered', 'active', 'offline', 'unreachable', 'refused', 'auth failed', 'timed out', 'failed',
        'maintenance'
    )),
    ADD COLUMN status_since  timestamptz,
    ADD COLUMN status_at     timestamptz,
    ADD COLUMN status_error  text;

UPDATE systems SET status_at = last_collected WHERE status = 'active';
