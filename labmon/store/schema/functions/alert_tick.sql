-- What no reading triggers: queues, trends, changes. And the tick, which calls all parts.

-- What the caller saw of the queues and the spools, and whether any system is measured at all.
CREATE OR REPLACE FUNCTION labmon_tick_observed(moment timestamptz, observed jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    latest record;
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

    -- Late is not absent: while readings wait in the queue, it is unknown whether there are none.
    -- How often it is measured, one of those says that were measured last: the very last may be new.
    SELECT max(measured_at) OVER () AS measured_at, gap INTO latest
    FROM (
        SELECT system_id, last_collected, labmon_measured(systems) AS measured_at FROM systems
        WHERE labmon_measured(systems) <= moment AND is_watched ORDER BY 3 DESC LIMIT 20
    ) AS newest, LATERAL (SELECT labmon_usual_gap(system_id, last_collected) AS gap OFFSET 0) AS usual
    ORDER BY gap IS NULL, newest.measured_at DESC LIMIT 1;
    IF NOT FOUND OR (observed ->> 'waiting')::bigint > 0 THEN
        RETURN;
    END IF;
    SELECT array_agg((rule_id, 0, '', moment, silent, threshold, silent > allowed, silent <= allowed)::labmon_sighting)
    INTO sightings
    FROM alert_rules,
        LATERAL (SELECT EXTRACT(epoch FROM moment - latest.measured_at)::real AS silent,
            GREATEST(threshold, 3 * EXTRACT(epoch FROM latest.gap))::real AS allowed, latest.gap AS gap) AS timing
    -- Some machine should have been measured: one that was until then, and was not in maintenance since.
    WHERE enabled AND kind = 'collector_down' AND gap IS NOT NULL AND (silent <= allowed OR EXISTS (
        SELECT FROM systems
        WHERE labmon_measured(systems) > latest.measured_at - GREATEST(3 * gap, interval '5 min') AND is_watched
        AND system_id NOT IN (
            SELECT system_id FROM labmon_under_maintenance(moment - allowed * interval '1 s', moment))));
    PERFORM labmon_alerts_apply(sightings, false);
END
$$;

-- Where the straight line through the last `span` of readings reaches 100. A line that rises by less than one
-- point over that span is taken to be flat.
CREATE OR REPLACE FUNCTION labmon_tick_rate(moment timestamptz, observed jsonb) RETURNS void LANGUAGE plpgsql AS $$
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
-- acknowledgement ends it: the memory may be back in place, but somebody has been at the machine. From nothing to
-- something is a change of 100 %; but no bytes at all are what a machine never has, only what could not be read, so
-- they are never what it was: its baseline is the first size above 0.
-- When nothing is left of a device that a rule of kind `gone` watches in that system, that one alone fires: a metric's
-- first word is the device (gpu_count, gpu_percent).
CREATE OR REPLACE FUNCTION labmon_tick_changed(moment timestamptz, observed jsonb) RETURNS void LANGUAGE plpgsql AS $$
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
                SELECT systems.system_id, LEAST(last_collected, $2) AS at, last_collected, reading.value,
                       CASE WHEN $1.metric NOT LIKE '%%\_bytes' OR known.value <> 0 THEN known.value END AS base,
                       known.missing, reading.value IS NULL
                           AND last_collected > CASE WHEN known.seen_at > $2 AND known.seen_at <> last_collected
                                                THEN '-infinity' ELSE known.seen_at END AS missed
                FROM alert_coverage JOIN systems USING (system_id)
                JOIN LATERAL (SELECT %I::real AS value FROM metrics WHERE metrics.system_id = systems.system_id
                              AND collected_at = last_collected) AS reading ON true
                LEFT JOIN alert_baselines AS known ON known.rule_id = $1.rule_id AND known.system_id = systems.system_id
                WHERE alert_coverage.rule_id = $1.rule_id
            ), kept AS (
                INSERT INTO alert_baselines AS known (rule_id, system_id, value, seen_at)
                SELECT $1.rule_id, system_id, COALESCE(base, value), last_collected FROM latest
                WHERE (base IS NULL AND value IS NOT NULL AND NOT (value = 0 AND $1.metric LIKE '%%\_bytes'))
                   OR (base IS NOT NULL AND (missed OR (missing > 0 AND value IS NOT NULL)))
                ON CONFLICT (rule_id, system_id) DO UPDATE SET seen_at = EXCLUDED.seen_at, value = EXCLUDED.value,
                    missing = CASE WHEN (SELECT missed FROM latest WHERE latest.system_id = known.system_id)
                              THEN known.missing + 1 ELSE 0 END
            )
            SELECT array_agg(($1.rule_id, system_id, '', at, COALESCE(value, 0), base, CASE $1.kind
                WHEN 'gone' THEN value IS NULL AND missing + missed::integer >= $1.least
                ELSE labmon_breach(
                    COALESCE(100 * abs(value - base) / NULLIF(abs(base), 0), 100 * sign(abs(value)))::real,
                    $1.comparison, $1.threshold)
                END, false)::labmon_sighting)
            FROM latest
            WHERE base IS NOT NULL AND (value IS NOT NULL OR $1.kind = 'gone') AND NOT (
                $1.kind = 'changed' AND value = 0 AND EXISTS (
                    SELECT FROM alert_rules AS gone JOIN alert_coverage AS cover USING (rule_id)
                    JOIN alert_baselines AS seen ON seen.rule_id = gone.rule_id AND seen.system_id = cover.system_id
                    WHERE gone.enabled AND gone.kind = 'gone' AND cover.system_id = latest.system_id
                      AND split_part(gone.metric, '_', 1) = split_part($1.metric, '_', 1))
            ) AND system_id NOT IN (
                SELECT system_id FROM labmon_under_maintenance($2, $2) WHERE mode IN ('skip', 'record'))
        $query$, rule.metric) INTO sightings USING rule, moment;
        PERFORM labmon_alerts_apply(sightings, false);
    END LOOP;
END
$$;

-- Evaluate everything once; called every few seconds. `observed` is what only the caller can see:
-- {"queue_backlog": {"metrics_queue": 12, ...}, "spool_full": {"host": 0.1}, "waiting": 12}, where waiting is the
-- number of readings in the queue. Returns how many alerts it put into the outbox, NULL when another session is
-- at it. What goes wrong in one part is recorded and leaves the others alone.
CREATE OR REPLACE FUNCTION labmon_alerts_tick(moment timestamptz, observed jsonb) RETURNS integer
LANGUAGE plpgsql SET jit = off AS $$
DECLARE
    part text;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('labmon_alerts_tick')) THEN
        RETURN NULL;
    END IF;
    FOREACH part IN ARRAY ARRAY['prune', 'observed', 'silence', 'groups', 'rate', 'changed', 'filesystems'] LOOP
        BEGIN
            EXECUTE format('SELECT %I($1, $2)', 'labmon_tick_' || part) USING moment, observed;
        EXCEPTION WHEN OTHERS THEN
            PERFORM labmon_alert_error(part, SQLERRM);
        END;
    END LOOP;
    RETURN labmon_alerts_tell(moment);
END
$$;
