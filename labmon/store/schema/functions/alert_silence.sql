-- Systems that are no longer measured, alone or many at once. Parts of the tick.

-- How often a system is measured: the median of its last gaps. NULL while it has been seen too rarely to tell,
-- so measuring by hand now and then never makes a warning of silence.
CREATE OR REPLACE FUNCTION labmon_usual_gap(system integer, latest timestamptz) RETURNS interval STABLE LANGUAGE sql AS $$
    SELECT CASE WHEN count(gap) >= 3 THEN percentile_disc(0.5) WITHIN GROUP (ORDER BY gap) END
    FROM (
        SELECT lag(collected_at) OVER (ORDER BY collected_at DESC) - collected_at AS gap FROM (
            SELECT collected_at FROM metrics WHERE system_id = system AND collected_at <= latest
            ORDER BY collected_at DESC LIMIT 6
        ) AS newest
    ) AS gaps
$$;

-- For how long, at most `longest`, no hour went by without a reading; one that did is allowed. The sums of an
-- hour that has just ended may not have been made yet.
CREATE OR REPLACE FUNCTION labmon_steady(system integer, latest timestamptz, longest interval) RETURNS interval
STABLE LANGUAGE sql AS $$
    SELECT COALESCE(max(latest - bucket) FILTER (WHERE bucket >= latest - number * interval '1 hour'
                                                 - interval '2 hours'), '0')
    FROM (
        SELECT bucket, row_number() OVER (ORDER BY bucket DESC) AS number FROM metrics_1h
        WHERE system_id = system AND bucket > latest - longest - interval '2 hours' AND bucket <= latest
    ) AS hours
$$;

-- A system is silent when it was not measured for longer than three of its usual gaps while others were: so
-- neither a collector nor a queue that stands still makes any silent. Nor is one that is or just was in maintenance.
CREATE OR REPLACE FUNCTION labmon_tick_silence(moment timestamptz, observed jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    -- Without one that is ahead of the clock, or all others would be silent until the clock has caught up.
    newest timestamptz := (
        SELECT max(labmon_measured(systems)) FROM systems WHERE labmon_measured(systems) <= moment AND is_watched
    );
    shortest interval := LEAST((SELECT min(threshold) FROM alert_rules WHERE enabled AND kind = 'no_data'), 300)
                      * interval '1 s';
    longest interval := (SELECT max(steady) FROM alert_rules WHERE enabled AND kind = 'no_data');
    added bigint;
    sightings labmon_sighting[];
BEGIN
    IF NOT EXISTS (SELECT FROM alert_rules WHERE enabled AND kind IN ('no_data', 'lab_down', 'network_down')) THEN
        DELETE FROM alert_silent;
        RETURN;
    END IF;
    DELETE FROM alert_silent USING systems
    WHERE alert_silent.system_id = systems.system_id AND (labmon_measured(systems) > since OR NOT is_watched
        OR systems.system_id IN (SELECT system_id FROM labmon_under_maintenance(moment, moment)));
    WITH quiet AS MATERIALIZED (
        SELECT system_id, last_collected, labmon_measured(systems) AS measured_at, gap, GREATEST(shortest, 3 * gap) AS allowed
        FROM systems, LATERAL (SELECT labmon_usual_gap(system_id, last_collected) AS gap OFFSET 0) AS usual
        -- A machine that was gone for a week when first evaluated is no news.
        WHERE labmon_measured(systems) < newest - shortest AND labmon_measured(systems) > newest - interval '7 days'
          AND system_id NOT IN (SELECT system_id FROM alert_silent) AND is_watched
    ), kept AS MATERIALIZED (
        SELECT system_id, max(ends_at) AS ends_at
        FROM labmon_under_maintenance(newest - interval '7 days', moment) GROUP BY system_id
    )
    INSERT INTO alert_silent (system_id, since, steady)
    SELECT system_id, since, labmon_steady(system_id, last_collected, longest)
    FROM quiet LEFT JOIN kept USING (system_id), LATERAL (SELECT GREATEST(measured_at, ends_at) AS since) AS expected
    WHERE gap IS NOT NULL AND newest > since + allowed;  -- since: infinity where it has no end
    GET DIAGNOSTICS added = ROW_COUNT;
    PERFORM labmon_analyze('alert_silent', added);

    -- Measured again is what ends it; maintenance that begins meanwhile does not.
    SELECT array_agg((cover.rule_id, cover.system_id, '', moment, seconds, threshold,
                      silent.since IS NOT NULL AND labmon_breach(seconds, comparison, threshold)
                          AND silent.steady >= COALESCE(rule.steady, '0'),
                      silent.since IS NULL)::labmon_sighting)
    INTO sightings
    FROM alert_coverage AS cover JOIN systems USING (system_id) LEFT JOIN alert_silent AS silent USING (system_id)
    JOIN alert_rules AS rule ON rule.rule_id = cover.rule_id,
        LATERAL (SELECT EXTRACT(epoch FROM newest - COALESCE(since, labmon_measured(systems)))::real AS seconds) AS silence
    WHERE kind = 'no_data' AND (silent.since IS NOT NULL OR (
        cover.system_id IN (SELECT system_id FROM alert_incidents WHERE resolved_at IS NULL AND kind = 'no_data')
        AND newest - labmon_measured(systems) <= GREATEST(shortest, 3 * labmon_usual_gap(cover.system_id, last_collected))));
    PERFORM labmon_alerts_apply(sightings, false);
END
$$;

-- The groups that can fail as one: labs, networks (the departments' own, else /24 and /64), and all of them.
CREATE OR REPLACE VIEW alert_groups AS
SELECT 'lab_down' AS kind, 'lab ' || lab_id AS subject, system_id FROM systems WHERE lab_id IS NOT NULL AND is_watched
UNION ALL
SELECT 'network_down', COALESCE(
    (SELECT subnet::text FROM departments, unnest(subnets) AS subnet WHERE ip_address <<= subnet
     ORDER BY masklen(subnet) DESC LIMIT 1),
    network(set_masklen(ip_address, CASE family(ip_address) WHEN 4 THEN 24 ELSE 64 END))::text), system_id
FROM systems WHERE ip_address IS NOT NULL AND is_watched
UNION ALL
SELECT 'network_down', 'all networks', system_id FROM systems WHERE is_watched;

-- Each system in each of its groups; since when it is silent, and from where an open alert about the group counts.
-- A machine of an open incident stays down until it is measured again: maintenance meanwhile ends nothing.
-- enable_nestloop = off: all is joined by hash. Statistics are out of date exactly when many change at once, and the
-- planner would compare all with all.
CREATE OR REPLACE FUNCTION labmon_group_members(moment timestamptz) RETURNS TABLE (
    rule_id integer, subject text, system_id integer, last_collected timestamptz, silent_since timestamptz, span interval,
    begin_at timestamptz
) STABLE LANGUAGE sql SET enable_nestloop = off AS $$
    WITH covered AS MATERIALIZED (
        SELECT open.rule_id, open.subject, cover.system_id, cover.since
        FROM alert_covers AS cover JOIN alert_incidents AS open USING (alert_id)
        WHERE alert_id = ANY(ARRAY(SELECT alert_id FROM alert_incidents
                                   WHERE resolved_at IS NULL AND kind IN ('lab_down', 'network_down')))
          AND open.resolved_at IS NULL AND open.kind IN ('lab_down', 'network_down')
    ), begun AS MATERIALIZED (
        SELECT rule_id, subject, min(since) - interval '1 ms' AS begin_at FROM covered GROUP BY rule_id, subject
    ), member AS MATERIALIZED (
        SELECT rule_id, subject, system_id, span
        FROM alert_groups JOIN (SELECT rule_id, kind, span FROM alert_rules) AS rule USING (kind)
        JOIN alert_coverage USING (rule_id, system_id)
    )
    SELECT rule_id, subject, system_id, labmon_measured(systems),
           COALESCE(silent.since, CASE WHEN labmon_measured(systems) <= covered.since THEN covered.since END), span, begin_at
    FROM member JOIN systems USING (system_id) LEFT JOIN alert_silent AS silent USING (system_id)
    LEFT JOIN covered USING (rule_id, subject, system_id) LEFT JOIN begun USING (rule_id, subject)
    WHERE last_collected IS NOT NULL
      AND system_id NOT IN (SELECT kept.system_id FROM labmon_under_maintenance(moment, moment) AS kept)
$$;

-- Many at once are one alert, when enough of those that were there fell silent within `span`. An open one goes on
-- counting from where it began, and takes in those that follow.
CREATE OR REPLACE FUNCTION labmon_tick_groups(moment timestamptz, observed jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    sightings labmon_sighting[];
    added bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM alert_silent) AND NOT EXISTS (
        SELECT FROM alert_incidents WHERE resolved_at IS NULL AND kind IN ('lab_down', 'network_down')) THEN
        RETURN;
    END IF;
    CREATE TEMPORARY TABLE IF NOT EXISTS labmon_groups (
        rule_id integer, subject text, system_id integer, last_collected timestamptz, silent_since timestamptz,
        begin_at timestamptz
    ) ON COMMIT DELETE ROWS;
    DELETE FROM labmon_groups;
    INSERT INTO labmon_groups
    SELECT rule_id, subject, system_id, last_collected, silent_since,
           COALESCE(begin_at, max(silent_since) OVER (PARTITION BY rule_id, subject) - span)
    FROM labmon_group_members(moment);
    ANALYZE labmon_groups (rule_id, subject, system_id);
    SELECT array_agg((rule_id, 0, subject, moment, share, threshold,
                      labmon_breach(share, comparison, threshold) AND silent >= least,
                      NOT labmon_breach(share, comparison, COALESCE(clear_threshold, threshold)))::labmon_sighting)
    INTO sightings
    FROM (
        SELECT rule_id, subject, count(*) FILTER (WHERE silent_since > begin_at) AS silent,
               (100.0 * count(*) FILTER (WHERE silent_since > begin_at) / count(*))::real AS share
        FROM labmon_groups WHERE GREATEST(last_collected, silent_since) > begin_at GROUP BY rule_id, subject
    ) AS counted JOIN alert_rules USING (rule_id);
    PERFORM labmon_alerts_apply(sightings, false);
    INSERT INTO alert_covers (alert_id, system_id, since)
    SELECT alert_id, labmon_groups.system_id, silent_since
    FROM labmon_groups JOIN alert_incidents AS open USING (rule_id, subject)
    WHERE open.resolved_at IS NULL AND kind IN ('lab_down', 'network_down') AND silent_since > begin_at
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    PERFORM labmon_analyze('alert_covers', added);
END
$$;
