-- A scan that lost packets is incomplete: it makes no machine gone.
ALTER TABLE scans DROP CONSTRAINT scans_status_check;
ALTER TABLE scans ADD CONSTRAINT scans_status_check
    CHECK (status IN ('completed', 'interrupted', 'incomplete'));
