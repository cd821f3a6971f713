-- What no reading triggers: silence, trends, changes, queues, the end of maintenance, repeats. All times are
-- the caller's `moment`, so that a test can be its own clock.

-- The question of the view `alert_coverage` about one pair; as a function it goes by the indexes.
CREATE FUNCTION labmon_rule_covers(rule integer, system integer) RETURNS boolean STABLE LANGUAGE sql AS $$
    SELECT EXISTS (SELECT FROM alert_coverage WHERE rule_id = rule AND system_id = system)
$$;

-- End what its rule no longer covers: changed, switched off or removed, or the system has moved.
CREATE FUNCTION labmon_tick_prune(moment timestamptz, observed jsonb) RETURNS void LANGUAGE plpgsql AS $$
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

CREATE FUNCTION labmon_alerts_on_rules() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM labmon_tick_prune(now(), NULL);
    RETURN NULL;
END
$$;

CREATE TRIGGER labmon_rules AFTER INSERT OR DELETE
    OR UPDATE OF name, kind, metric, enabled, dept_id, lab_id, system_id ON alert_rules
    FOR EACH STATEMENT EXECUTE FUNCTION labmon_alerts_on_rules();

-- How often a system is measured: the middle of its last gaps. NULL while it has been seen too rarely to tell,
-- so whoever measures by hand now and then is never warned of silence.
CREATE FUNCTION labmon_usual_gap(system integer, latest timestamptz) RETURNS interval STABLE LANGUAGE sql AS $$
    SELECT CASE WHEN count(gap) >= 3 THEN percentile_disc(0.5) WITHIN GROUP (ORDER BY gap) END
    FROM (
        SELECT lag(collected_at) OVER (ORDER BY collected_at DESC) - collected_at AS gap FROM (
            SELECT collected_at FROM metrics WHERE system_id = system AND collected_at <= latest
            ORDER BY collected_at DESC LIMIT 6
        ) AS newest
    ) AS gaps
$$;

-- What the caller saw of the queues and the spool, and whether anybody is measured at all.
CREATE FUNCTION labmon_tick_observed(moment timestamptz, observed jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    latest systems;
    sightings labmon_sighting[];
BEGIN
    SELECT array_agg((rule_id, 0, key, moment, value::real, threshold,
                      labmon_breach(value::real, comparison, threshold),
                      NOT labmon_breach(value::real, comparison, COALESCE(clear_threshold, threshold))
                     )::labmon_sighting)
    INTO sightings
    FROM alert_rules, jsonb_each_text(observed -> kind) AS seen
    WHERE enabled AND kind IN ('queue_backlog', 'spool_full');
    PERFORM labmon_alerts_apply(sightings, false);

    -- Late is not absent: while readings wait in the queue, nobody can say that there are none.
    SELECT * INTO latest FROM systems WHERE last_collected IS NOT NULL ORDER BY last_collected DESC LIMIT 1;
    IF NOT FOUND OR (observed ->> 'waiting')::bigint > 0 THEN
        RETURN;
    END IF;
    SELECT array_agg((rule_id, 0, '', moment, silent, threshold, silent > allowed, silent <= allowed)::labmon_sighting)
    INTO sightings
    FROM alert_rules,
        LATERAL (SELECT EXTRACT(epoch FROM moment - latest.last_collected)::real AS silent,
            GREATEST(threshold, 3 * EXTRACT(epoch FROM labmon_usual_gap(latest.system_id, moment)))::real AS allowed,
            labmon_usual_gap(latest.system_id, moment) AS gap) AS timing
    -- Somebody should have been measured: who was until then, and was not in maintenance since.
    WHERE enabled AND kind = 'collector_down' AND gap IS NOT NULL AND (silent <= allowed OR EXISTS (
        SELECT FROM systems WHERE last_collected > latest.last_collected - GREATEST(3 * gap, interval '5 min')
        AND system_id NOT IN (
            SELECT system_id FROM labmon_under_maintenance(moment - allowed * interval '1 s', moment))));
    PERFORM labmon_alerts_apply(sightings, false);
END
$$;

-- Silent is who was not measured for longer than three of its usual gaps while others were: so neither a
-- collector nor a queue that stands still makes anybody silent. Nor is anybody who is or just was in maintenance.
CREATE FUNCTION labmon_tick_silence(moment timestamptz, observed jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    newest timestamptz := (SELECT max(last_collected) FROM systems);
    shortest interval := LEAST((SELECT min(threshold) FROM alert_rules WHERE enabled AND kind = 'no_data'), 300)
                      * interval '1 s';
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
    INSERT INTO alert_silent (system_id, since)
    SELECT system_id, since FROM quiet, LATERAL (
        SELECT GREATEST(last_collected, max(ends_at)) AS since
        FROM labmon_under_maintenance(newest - interval '7 days', moment) AS kept
        WHERE kept.system_id = quiet.system_id
    ) AS expected
    WHERE gap IS NOT NULL AND newest > since + allowed;  -- since: infinity where it has no end

    -- Measured again is what ends it; maintenance that begins meanwhile does not.
    SELECT array_agg((cover.rule_id, cover.system_id, '', moment, seconds, threshold,
                      silent.since IS NOT NULL AND labmon_breach(seconds, comparison, threshold),
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

-- The groups that can fail as one: labs, networks (the departments' own, else /24 and /64), and all of them.
CREATE VIEW alert_groups AS
SELECT 'lab_down' AS kind, 'lab ' || lab_id AS subject, system_id FROM systems WHERE lab_id IS NOT NULL
UNION ALL
SELECT 'network_down', COALESCE(
    (SELECT subnet::text FROM departments, unnest(subnets) AS subnet WHERE ip_address <<= subnet
     ORDER BY masklen(subnet) DESC LIMIT 1),
    network(set_masklen(ip_address, CASE family(ip_address) WHEN 4 THEN 24 ELSE 64 END))::text), system_id
FROM systems WHERE ip_address IS NOT NULL
UNION ALL
SELECT 'network_down', 'all networks', system_id FROM systems;

-- Many at once are one alert: of those that were there, so many fell silent within `span`. An open one goes on
-- counting from where it began, and takes in whoever follows.
CREATE FUNCTION labmon_tick_groups(moment timestamptz, observed jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    sightings labmon_sighting[];
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
    -- Whoever is under an open one stays down until it is measured again: maintenance meanwhile ends nothing.
    WITH covered AS MATERIALIZED (
        SELECT rule_id, subject, alert_covers.system_id, alert_covers.since
        FROM alert_incidents JOIN alert_covers USING (alert_id)
        WHERE resolved_at IS NULL AND kind IN ('lab_down', 'network_down')
    ), member AS MATERIALIZED (
        SELECT rule_id, subject, system_id, last_collected, span,
               COALESCE(alert_silent.since, CASE WHEN last_collected <= covered.since THEN covered.since END)
               AS silent_since
        FROM alert_groups JOIN (SELECT rule_id, kind, span FROM alert_rules) AS rule USING (kind)
        JOIN alert_coverage USING (rule_id, system_id)
        JOIN systems USING (system_id) LEFT JOIN alert_silent USING (system_id)
        LEFT JOIN covered USING (rule_id, subject, system_id)
        WHERE last_collected IS NOT NULL
          AND system_id NOT IN (SELECT system_id FROM labmon_under_maintenance(moment, moment))
    ), begun AS MATERIALIZED (
        SELECT rule_id, subject, min(since) - interval '1 ms' AS begin_at FROM covered GROUP BY rule_id, subject
    )
    INSERT INTO labmon_groups
    SELECT rule_id, subject, system_id, last_collected, silent_since,
           COALESCE(begin_at, max(silent_since) OVER (PARTITION BY rule_id, subject) - span)
    FROM member LEFT JOIN begun USING (rule_id, subject);
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
    WHERE open.resolved_at IS NULL AND silent_since > begin_at AND NOT EXISTS (
        SELECT FROM alert_covers AS known
        WHERE known.alert_id = open.alert_id AND known.system_id = labmon_groups.system_id);
END
$$;

-- Where the straight line through the last `span` of readings reaches 100. A line that rises by less than one
-- point over that span is taken to be flat.
CREATE FUNCTION labmon_tick_rate(moment timestamptz, observed jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    rule alert_rules;
    sightings labmon_sighting[];
BEGIN
    FOR rule IN
        UPDATE alert_rules SET evaluated_at = moment
        WHERE enabled AND kind = 'rate'
          AND (evaluated_at IS NULL OR evaluated_at NOT BETWEEN moment - interval '5 min' AND moment)
        RETURNING *
    LOOP
        EXECUTE format($query$
            SELECT array_agg(($1.rule_id, system_id, '', $2, hours, $1.threshold,
                              labmon_breach(hours, $1.comparison, $1.threshold),
                              NOT labmon_breach(hours, $1.comparison, COALESCE($1.clear_threshold, $1.threshold))
                             )::labmon_sighting)
            FROM (
                SELECT system_id, CASE WHEN slope * EXTRACT(epoch FROM $1.span) < 1 THEN 1e6
                    ELSE GREATEST(0, LEAST(1e6, (100 - (level + slope * ends)) / slope / 3600)) END::real AS hours
                FROM (
                    SELECT system_id, count(*), max(at) AS ends, max(at) - min(at) AS covered,
                           regr_slope(value, at) AS slope, regr_intercept(value, at) AS level
                    FROM (SELECT system_id, %1$I::double precision AS value,
                                 EXTRACT(epoch FROM collected_at - $2)::double precision AS at
                          FROM metrics WHERE collected_at > $2 - $1.span AND collected_at <= $2 AND %1$I IS NOT NULL
                    ) AS reading GROUP BY system_id
                ) AS line JOIN alert_coverage USING (system_id)
                WHERE rule_id = $1.rule_id AND count >= 5 AND covered >= EXTRACT(epoch FROM $1.span) / 2
            ) AS trend
        $query$, rule.metric) INTO sightings USING rule, moment;
        PERFORM labmon_alerts_apply(sightings, false);
    END LOOP;
END
$$;

-- A value that is not what it was, or no longer there at all in `least` successive readings. Nothing but an
-- acknowledgement ends it: whoever puts the memory back has still been at the machine.
CREATE FUNCTION labmon_tick_changed(moment timestamptz, observed jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    rule alert_rules;
    sightings labmon_sighting[];
BEGIN
    FOR rule IN
        UPDATE alert_rules SET evaluated_at = moment
        WHERE enabled AND kind IN ('changed', 'gone')
          AND (evaluated_at IS NULL OR evaluated_at NOT BETWEEN moment - interval '50 s' AND moment)
        RETURNING *
    LOOP
        EXECUTE format($query$
            WITH latest AS MATERIALIZED (
                SELECT systems.system_id, last_collected AS at, reading.value, known.value AS base, known.missing,
                       reading.value IS NULL AND last_collected > known.seen_at AS missed
                FROM alert_coverage JOIN systems USING (system_id)
                JOIN LATERAL (SELECT %I::real AS value FROM metrics WHERE metrics.system_id = systems.system_id
                              AND collected_at = last_collected) AS reading ON true
                LEFT JOIN alert_baselines AS known ON known.rule_id = $1.rule_id AND known.system_id = systems.system_id
                WHERE alert_coverage.rule_id = $1.rule_id
            ), kept AS (
                INSERT INTO alert_baselines AS known (rule_id, system_id, value, seen_at)
                SELECT $1.rule_id, system_id, COALESCE(base, value), at FROM latest
                WHERE (base IS NULL AND value IS NOT NULL) OR missed OR (missing > 0 AND value IS NOT NULL)
                ON CONFLICT (rule_id, system_id) DO UPDATE SET seen_at = EXCLUDED.seen_at,
                    missing = CASE WHEN (SELECT missed FROM latest WHERE latest.system_id = known.system_id)
                              THEN known.missing + 1 ELSE 0 END
            )
            SELECT array_agg(($1.rule_id, system_id, '', at, COALESCE(value, 0), base, CASE $1.kind
                WHEN 'gone' THEN value IS NULL AND missing + missed::integer >= $1.least
                ELSE labmon_breach((100 * abs(value - base) / NULLIF(abs(base), 0))::real, $1.comparison, $1.threshold)
                END, false)::labmon_sighting)
            FROM latest
            WHERE base IS NOT NULL AND (value IS NOT NULL OR $1.kind = 'gone') AND NOT EXISTS (
                SELECT FROM labmon_under_maintenance($2, $2) AS kept
                WHERE kept.system_id = latest.system_id AND mode IN ('skip', 'record'))
        $query$, rule.metric) INTO sightings USING rule, moment;
        PERFORM labmon_alerts_apply(sightings, false);
    END LOOP;
END
$$;

-- Look at everything once; whoever calls it calls it every some seconds. `observed` is what only the caller
-- can see: {"queue_backlog": {"metrics_queue": 12, ...}, "spool_full": {"host": 0.1}, "waiting": 12}, where
-- waiting is the number of readings in the queue. Returns how many alerts it told, NULL when another session
-- is at it. What goes wrong in one part is recorded and leaves the others alone.
CREATE FUNCTION labmon_alerts_tick(moment timestamptz, observed jsonb) RETURNS integer
LANGUAGE plpgsql SET jit = off AS $$
DECLARE
    part text;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('labmon_alerts_tick')) THEN
        RETURN NULL;
    END IF;
    FOREACH part IN ARRAY ARRAY['prune', 'observed', 'silence', 'groups', 'rate', 'changed'] LOOP
        BEGIN
            EXECUTE format('SELECT %I($1, $2)', 'labmon_tick_' || part) USING moment, observed;
        EXCEPTION WHEN OTHERS THEN
            PERFORM labmon_alert_error(part, SQLERRM);
        END;
    END LOOP;
    RETURN labmon_alerts_tell(moment);
END
$$;

-- Somebody knows. What nothing else can end (`changed`, `gone`, alerts from elsewhere) ends with it, and what
-- the machine is now is what it should be from then on. Returns those that could be acknowledged.
CREATE FUNCTION labmon_alerts_acknowledge(incidents bigint[], who text, said text, moment timestamptz)
RETURNS SETOF bigint LANGUAGE plpgsql SET jit = off AS $$
DECLARE
    ids bigint[];
BEGIN
    WITH done AS (
        UPDATE alert_incidents SET
            acknowledged_at = moment, acknowledged_by = who, comment = said,
            resolved_at = CASE WHEN kind IN ('changed', 'gone', 'other') THEN GREATEST(moment, fired_at) END,
            reason = CASE WHEN kind IN ('changed', 'gone', 'other') THEN 'acknowledged by ' || who END
        WHERE alert_id = ANY(incidents) AND state = 'firing'
        RETURNING *
    ), logged AS (
        INSERT INTO alert_log (alert_id, at, event, said_by, comment)
        SELECT alert_id, moment, event, who, said
        FROM done, LATERAL (VALUES ('acknowledged', true), ('resolved', resolved_at IS NOT NULL)) AS step (event, is_so)
        WHERE is_so
    ), forgotten AS (
        DELETE FROM alert_baselines AS known USING done
        WHERE known.rule_id = done.rule_id AND known.system_id = done.system_id
    )
    SELECT array_agg(alert_id ORDER BY alert_id) INTO ids FROM done;
    PERFORM labmon_alerts_tell(moment, ids);
    RETURN QUERY SELECT unnest(ids);
END
$$;

-- Alerts that other programs sent, and those of labmon that no rule makes (a changed host key), stand beside
-- ours until somebody acknowledges them or their sender says that they are over. They have been told already.
CREATE FUNCTION labmon_alerts_on_alerts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('labmon.replay', true) = 'on' THEN
        RETURN NULL;
    END IF;
    BEGIN
        INSERT INTO alert_incidents AS known (
            alert_type, kind, system_id, severity, value, threshold, since, last_at, fired_at, told
        )
        SELECT DISTINCT ON (system_id, alert_type) alert_type, 'other', system_id, severity, value, threshold,
               raised_at, raised_at, raised_at, 'firing'
        FROM fresh WHERE alert_id IS NULL AND state = 'firing'
        ORDER BY system_id, alert_type, raised_at DESC
        ON CONFLICT (system_id, alert_type) WHERE resolved_at IS NULL AND kind = 'other' DO UPDATE
            SET last_at = GREATEST(known.last_at, EXCLUDED.last_at), value = EXCLUDED.value,
                severity = EXCLUDED.severity;
        UPDATE alert_incidents AS known SET
            resolved_at = raised_at, clear_value = fresh.value, told = 'resolved', reason = 'its sender says so'
        FROM fresh WHERE known.kind = 'other' AND known.resolved_at IS NULL AND fresh.alert_id IS NULL
          AND fresh.state = 'resolved' AND fresh.system_id = known.system_id
          AND fresh.alert_type = known.alert_type AND raised_at > known.last_at;
    EXCEPTION WHEN OTHERS THEN
        PERFORM labmon_alert_error('alerts', SQLERRM);
    END;
    RETURN NULL;
END
$$;

CREATE TRIGGER labmon_alerts AFTER INSERT ON alerts REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION labmon_alerts_on_alerts();

INSERT INTO alert_rules (
    name, kind, metric, comparison, threshold, clear_threshold, hold, clear_hold, severity, span, enabled, note
) VALUES
    ('cpu_high', 'threshold', 'cpu_percent', '>', 95, 80, '15 min', '5 min', 'warning', NULL, true, NULL),
    ('ram_high', 'threshold', 'ram_percent', '>', 95, 85, '10 min', '5 min', 'warning', NULL, true, NULL),
    ('swap_high', 'threshold', 'swap_percent', '>', 80, 60, '10 min', '5 min', 'warning', NULL, true, NULL),
    ('disk_high', 'threshold', 'disk_percent', '>', 90, 85, '5 min', '5 min', 'warning', NULL, true, NULL),
    ('disk_full', 'threshold', 'disk_percent', '>', 97, 95, '0', '5 min', 'critical', NULL, true, NULL),
    ('cpu_hot', 'threshold', 'cpu_temperature_celsius', '>', 90, 80, '5 min', '5 min', 'warning', NULL, true,
        'Dust, a dead fan, or the room: look at its neighbours.'),
    ('gpu_hot', 'threshold', 'gpu_temperature_celsius', '>', 90, 80, '5 min', '5 min', 'warning', NULL, true, NULL),
    ('disk_filling', 'rate', 'disk_percent', '<', 24, 48, '0', '30 min', 'warning', '6 hours', true,
        'Full within so many hours if it goes on like this.'),
    ('ram_changed', 'changed', 'ram_total_bytes', '>', 5, NULL, '0', '0', 'critical', NULL, true,
        'Memory was taken out or put in. Acknowledge it to keep the new size.'),
    ('gpu_gone', 'gone', 'gpu_percent', '>', 0, NULL, '0', '0', 'critical', NULL, true,
        'Taken out, or its driver fails.'),
    ('disk_gone', 'gone', 'disk_percent', '>', 0, NULL, '0', '0', 'critical', NULL, true, NULL),
    ('no_data', 'no_data', NULL, '>', 600, NULL, '2 min', '0', 'warning', NULL, false,
        'For machines that are never switched off; labs have lab_down.'),
    ('lab_down', 'lab_down', NULL, '>=', 50, 20, '2 min', '2 min', 'critical', '5 min', true,
        'Power or network of the room. Closing hours: labmon maintenance add.'),
    ('network_down', 'network_down', NULL, '>=', 50, 20, '2 min', '2 min', 'critical', '5 min', true,
        'A switch, a router, or the way to it.'),
    ('queue_backlog', 'queue_backlog', NULL, '>', 10000, 1000, '5 min', '0', 'critical', NULL, true,
        'More workers: labmon consume.'),
    ('collector_down', 'collector_down', NULL, '>', 600, NULL, '2 min', '0', 'critical', NULL, true,
        'Nobody is measured any more: labmon collect, labmon consume, or the way to the machines.'),
    ('spool_full', 'spool_full', NULL, '>', 80, 50, '1 min', '0', 'warning', NULL, true,
        'The broker has been away for long: labmon spool status.');
