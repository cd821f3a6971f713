-- withdrawn: nobody needs to be told any more, since somebody has acknowledged it, or it is over; `error` says which.
ALTER TABLE deliveries DROP CONSTRAINT deliveries_state_check,
    ADD CONSTRAINT deliveries_state_check
        CHECK (state IN ('waiting', 'sent', 'superseded', 'withdrawn', 'failed'));

CREATE INDEX deliveries_withdrawn ON deliveries (target, (alert ->> 'alert_id')) WHERE state = 'withdrawn';
CREATE INDEX deliveries_sent ON deliveries ((alert ->> 'alert_id'), target) WHERE state = 'sent';

-- How full the spools are, as each machine that reaches the database says: for the rule spool_full.
CREATE TABLE spools (
    host     text NOT NULL,
    file     text NOT NULL,
    percent  real NOT NULL,           -- of its bound
    told_at  timestamptz NOT NULL,
    PRIMARY KEY (host, file)
);

-- Machines that are never switched off are told by themselves from others: in every hour of `steady`, up to their
-- last reading, there was one. With such a rule silence is news, whoever has no list of servers.
ALTER TABLE alert_rules ADD COLUMN steady interval CHECK (steady > '0'),
    ADD CONSTRAINT alert_rules_steady CHECK (steady IS NULL OR kind = 'no_data');
ALTER TABLE alert_silent ADD COLUMN steady interval NOT NULL DEFAULT '0';

-- For how long, at most `longest`, no hour went by without a reading; one that did is forgiven. The sums of an
-- hour that has just ended may not have been made yet.
CREATE FUNCTION labmon_steady(system integer, latest timestamptz, longest interval) RETURNS interval
STABLE LANGUAGE sql AS $$
    SELECT COALESCE(max(latest - bucket) FILTER (WHERE bucket >= latest - number * interval '1 hour'
                                                 - interval '2 hours'), '0')
    FROM (
        SELECT bucket, row_number() OVER (ORDER BY bucket DESC) AS number FROM metrics_1h
        WHERE system_id = system AND bucket > latest - longest - interval '2 hours' AND bucket <= latest
    ) AS hours
$$;

-- Silent is who was not measured for longer than three of its usual gaps while others were: so neither a
-- collector nor a queue that stands still makes anybody silent. Nor is anybody who is or just was in maintenance.
CREATE OR REPLACE FUNCTION labmon_tick_silence(moment timestamptz, observed jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    newest timestamptz := (SELECT max(last_collected) FROM systems);
    shortest interval := LEAST((SELECT min(threshold) FROM alert_rules WHERE enabled AND kind = 'no_data'), 300)
                      * interval '1 s';
    longest interval := (SELECT max(steady) FROM alert_rules WHERE enabled AND kind = 'no_data');
    sightings labmon_sighting[];
BEGIN
    IF NOT EXISTS (SELECT FROM alert_rules WHERE enabled AND kind IN ('no_data', 'lab_down', 'network_down')) THEN
        DELETE FROM alert_silent;
        RETURN;
    END IF;
    DELETE FROM alert_silent USING systems
    WHERE alert_silent.system_id = systems.system_id AND (last_collected > since
        OR systems.system_id IN (SELECT system_id FROM labmon_under_maintenance(moment, moment)));
    WITH quiet AS MATERIALIZED (
        SELECT system_id, last_collected, gap, GREATEST(shortest, 3 * gap) AS allowed
        FROM systems, LATERAL (SELECT labmon_usual_gap(system_id, last_collected) AS gap OFFSET 0) AS usual
        -- Whoever was gone for a week when first looked at is no news.
        WHERE last_collected < newest - shortest AND last_collected > newest - interval '7 days'
          AND system_id NOT IN (SELECT system_id FROM alert_silent)
    )
    INSERT INTO alert_silent (system_id, since, steady)
    SELECT system_id, since, labmon_steady(system_id, last_collected, longest) FROM quiet, LATERAL (
        SELECT GREATEST(last_collected, max(ends_at)) AS since
        FROM labmon_under_maintenance(newest - interval '7 days', moment) AS kept
        WHERE kept.system_id = quiet.system_id
    ) AS expected
    WHERE gap IS NOT NULL AND newest > since + allowed;  -- since: infinity where it has no end

    -- Measured again is what ends it; maintenance that begins meanwhile does not.
    SELECT array_agg((cover.rule_id, cover.system_id, '', moment, seconds, threshold,
                      silent.since IS NOT NULL AND labmon_breach(seconds, comparison, threshold)
                          AND silent.steady >= COALESCE(rule.steady, '0'),
                      silent.since IS NULL)::labmon_sighting)
    INTO sightings
    FROM alert_coverage AS cover JOIN systems USING (system_id) LEFT JOIN alert_silent AS silent USING (system_id)
    JOIN alert_rules AS rule ON rule.rule_id = cover.rule_id,
        LATERAL (SELECT EXTRACT(epoch FROM newest - COALESCE(since, last_collected))::real AS seconds) AS silence
    WHERE kind = 'no_data' AND (silent.since IS NOT NULL OR (
        cover.system_id IN (SELECT system_id FROM alert_incidents WHERE resolved_at IS NULL AND kind = 'no_data')
        AND newest - last_collected <= GREATEST(shortest, 3 * labmon_usual_gap(cover.system_id, last_collected))));
    PERFORM labmon_alerts_apply(sightings, false);
END
$$;

UPDATE alert_rules SET enabled = true, steady = '7 days',
    note = 'It had been on day and night. For machines that may be switched off there is lab_down.'
WHERE name = 'no_data' AND kind = 'no_data' AND NOT enabled AND num_nonnulls(dept_id, lab_id, system_id) = 0
  AND note = 'For machines that are never switched off; labs have lab_down.';

UPDATE alert_rules SET note = 'The system''s own disk cannot be read any more.'
WHERE name = 'disk_gone' AND kind = 'gone' AND note IS NULL;

-- Of two limits of one metric only the worse is told: a disk that is full is not told as nearly full as well.
-- Why these incidents are not to be told at that moment; those to be told have no row.
CREATE OR REPLACE FUNCTION labmon_alerts_muted(moment timestamptz, incidents bigint[])
RETURNS TABLE (alert_id bigint, why text) STABLE LANGUAGE sql AS $$
    WITH incident AS MATERIALIZED (
        SELECT * FROM alert_incidents WHERE alert_id = ANY(incidents)
    )
    SELECT DISTINCT ON (alert_id) alert_id, why FROM (
        SELECT incident.alert_id, 1,
               CASE mode WHEN 'silence' THEN 'silence ' ELSE 'maintenance ' END || maintenance_id
        FROM labmon_maintenance_ranges(moment, moment) JOIN maintenance USING (maintenance_id)
        CROSS JOIN incident LEFT JOIN systems ON systems.system_id = incident.system_id
        WHERE (maintenance.rule IS NULL OR maintenance.rule = incident.alert_type)
          AND COALESCE(
            maintenance.system_id = incident.system_id,
            maintenance.lab_id = COALESCE(incident.lab_id, systems.lab_id, 0),
            maintenance.dept_id = COALESCE(incident.dept_id, systems.dept_id, 0), true)
        UNION ALL
        SELECT incident.alert_id, 2, 'under ' || larger.alert_type || COALESCE(' ' || NULLIF(larger.subject, ''), '')
        FROM incident JOIN alert_covers AS cover USING (system_id)
        JOIN alert_incidents AS larger ON larger.alert_id = cover.alert_id AND larger.resolved_at IS NULL
        WHERE incident.kind = 'no_data'
        UNION ALL
        SELECT incident.alert_id, 3, 'the system is silent'
        FROM incident JOIN alert_silent USING (system_id)
        WHERE incident.kind IN ('threshold', 'rate', 'gone')
        UNION ALL
        SELECT incident.alert_id, 4, 'under ' || larger.alert_type || ' ' || larger.subject
        FROM incident JOIN alert_incidents AS larger
            ON larger.kind IN ('lab_down', 'network_down') AND larger.resolved_at IS NULL
        WHERE incident.kind IN ('lab_down', 'network_down')
          AND incident.resolved_at IS NULL
          -- The one that covers more; of two that cover the same, the lab, then the smaller network.
          AND (SELECT count(*) FROM alert_covers WHERE alert_id = larger.alert_id)
              + CASE WHEN (larger.kind, length(larger.subject)) < (incident.kind, length(incident.subject))
                THEN 0.5 ELSE 0 END
              > (SELECT count(*) FROM alert_covers WHERE alert_id = incident.alert_id)
          AND NOT EXISTS (
            SELECT system_id FROM alert_covers WHERE alert_id = incident.alert_id
            EXCEPT SELECT system_id FROM alert_covers WHERE alert_id = larger.alert_id)
        UNION ALL
        SELECT incident.alert_id, 5, 'under ' || larger.alert_type
        FROM incident, alert_incidents AS larger
        WHERE incident.kind IN ('no_data', 'lab_down', 'network_down')
          AND larger.kind = 'collector_down' AND larger.resolved_at IS NULL
        UNION ALL
        SELECT incident.alert_id, 6, 'under ' || worse.alert_type
        FROM incident JOIN alert_rules AS rule USING (rule_id)
        JOIN alert_incidents AS worse ON worse.system_id = incident.system_id AND worse.kind = 'threshold'
            AND worse.resolved_at IS NULL AND worse.fired_at IS NOT NULL
        JOIN alert_rules AS its ON its.rule_id = worse.rule_id AND its.metric = rule.metric
        WHERE (incident.kind = 'rate'
               OR incident.kind = 'threshold' AND left(its.comparison, 1) = left(rule.comparison, 1))
          AND array_position('{info,warning,critical}', incident.severity)
              < array_position('{info,warning,critical}', worse.severity)
    ) AS reasons (alert_id, place, why)
    ORDER BY alert_id, place
$$;
