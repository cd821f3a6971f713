-- Which rule covers which system, and what becomes of incidents when rules change.

-- Of the rules of one name the narrowest; of systems that are watched.
CREATE OR REPLACE VIEW alert_coverage AS
SELECT rule.rule_id, systems.system_id
FROM alert_rules AS rule JOIN systems ON COALESCE(
    rule.system_id = systems.system_id, rule.lab_id = systems.lab_id, rule.dept_id = systems.dept_id,
    num_nonnulls(rule.system_id, rule.lab_id, rule.dept_id) = 0)
WHERE rule.enabled AND systems.is_watched AND NOT EXISTS (
    SELECT FROM alert_rules AS narrower
    WHERE narrower.name = rule.name AND rule.system_id IS NULL AND (
        narrower.system_id = systems.system_id
        OR (rule.lab_id IS NULL AND narrower.lab_id = systems.lab_id)
        OR (rule.lab_id IS NULL AND rule.dept_id IS NULL AND narrower.dept_id = systems.dept_id))
);

-- The view `alert_coverage` about one pair: as a function it goes by the indexes.
CREATE OR REPLACE FUNCTION labmon_rule_covers(rule integer, system integer) RETURNS boolean STABLE LANGUAGE sql AS $$
    SELECT EXISTS (SELECT FROM alert_coverage WHERE rule_id = rule AND system_id = system)
$$;

-- End what its rule no longer covers: the rule was changed, switched off or removed, or the system has moved.
-- A part of the tick, as all labmon_tick_* are; their times are the caller's `moment`, so that a test can be its
-- own clock.
CREATE OR REPLACE FUNCTION labmon_tick_prune(moment timestamptz, observed jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    uncovered bigint[];
BEGIN
    SELECT array_agg(alert_id ORDER BY alert_id) INTO uncovered
    FROM alert_incidents AS incident LEFT JOIN alert_rules AS rule USING (rule_id)
    WHERE resolved_at IS NULL AND incident.kind <> 'other' AND CASE
        WHEN rule.enabled IS NOT TRUE OR rule.kind <> incident.kind THEN true
        ELSE incident.system_id <> 0 AND NOT labmon_rule_covers(incident.rule_id, incident.system_id) END;
    DELETE FROM alert_incidents WHERE alert_id = ANY(uncovered) AND fired_at IS NULL;
    WITH ended AS (
        UPDATE alert_incidents SET resolved_at = GREATEST(moment, fired_at), reason = 'the rule no longer covers it'
        WHERE alert_id = ANY(uncovered) AND resolved_at IS NULL
        RETURNING alert_id, resolved_at, reason
    )
    INSERT INTO alert_log (alert_id, at, event, comment) SELECT alert_id, resolved_at, 'resolved', reason FROM ended;
    DELETE FROM alert_outbox WHERE published_at < moment - interval '7 days';
    DELETE FROM alert_errors WHERE last_at < moment - interval '30 days';
END
$$;

-- Trigger: a rule was made, changed or removed.
CREATE OR REPLACE FUNCTION labmon_alerts_on_rules() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM labmon_tick_prune(now(), NULL);
    RETURN NULL;
END
$$;

-- Trigger, in place of a foreign key with ON DELETE SET NULL, each check of which took longer than all else about an
-- incident. The tick ends what a reading meanwhile makes of a removed rule.
CREATE OR REPLACE FUNCTION labmon_alerts_on_removed_rules() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE alert_incidents SET rule_id = NULL WHERE rule_id IN (SELECT rule_id FROM removed);
    RETURN NULL;
END
$$;
