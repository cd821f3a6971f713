-- Escalation: a target may hear only of what nobody has acknowledged for some time. Until then its deliveries are held.
ALTER TABLE deliveries ADD COLUMN escalate_at timestamptz;

-- Repeats of an alert escalate when its first notification does.
CREATE INDEX deliveries_escalating ON deliveries ((alert ->> 'alert_id'), target) WHERE escalate_at IS NOT NULL;

-- Alerts that came without a number are found by what they are about.
CREATE INDEX alert_incidents_other ON alert_incidents (system_id, alert_type, resolved_at) WHERE kind = 'other';
