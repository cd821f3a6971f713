-- What made the beginning and the end of an incident dear.

-- Each check of this key took longer than all else about an incident. What it did when a rule was removed is
-- done by a trigger; the tick ends what a reading meanwhile makes of a rule that is no more.
ALTER TABLE alert_incidents DROP CONSTRAINT alert_incidents_rule_id_fkey;

CREATE FUNCTION labmon_alerts_on_removed_rules() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE alert_incidents SET rule_id = NULL WHERE rule_id IN (SELECT rule_id FROM removed);
    RETURN NULL;
END
$$;

CREATE TRIGGER labmon_removed_rules AFTER DELETE ON alert_rules REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION labmon_alerts_on_removed_rules();

-- The few that mute others: looked for whenever anything is told, and not among all that ever was.
CREATE INDEX alert_incidents_larger ON alert_incidents (kind)
    WHERE resolved_at IS NULL AND kind IN ('lab_down', 'network_down', 'collector_down');
