-- Thresholds, evaluated in the transaction that stores the readings. It costs next to nothing while nothing
-- changes: however many alerts stand, only those that begin, wait or end are folded.
--
-- A reading ahead of the database's clock counts as read now: else what comes until the clock has caught up would
-- be older than it, and the rules blind for that system.

-- Trigger. Only rows that were really inserted are in `fresh`. Nothing in here can fail the insert.
-- jit = off: the planner expects a thousand days of every maintenance, and would compile for a second what runs
-- for a millisecond.
CREATE OR REPLACE FUNCTION labmon_alerts_on_metrics() RETURNS trigger LANGUAGE plpgsql SET jit = off AS $$
DECLARE
    judging alert_rules[];
    ids integer[];
    names text[];
    from_above real[];
    from_below real[];
    passes text;
    any_passes boolean;
    sightings labmon_sighting[];
    oldest timestamptz;
    newest timestamptz;
BEGIN
    IF current_setting('labmon.replay', true) = 'on' THEN
        RETURN NULL;
    END IF;
    BEGIN
        SELECT array_agg(alert_rules), array_agg(rule_id) INTO judging, ids
        FROM alert_rules JOIN pg_attribute
            ON attrelid = 'metrics'::regclass AND attname = metric AND attnum > 2 AND NOT attisdropped
        WHERE enabled AND kind = 'threshold';
        IF judging IS NULL THEN
            RETURN NULL;
        END IF;
        -- One at a time, so that each sees what the one before made of the same systems.
        PERFORM pg_advisory_xact_lock(hashtext('labmon_alerts'));
        -- The loosest limits of each metric, as arrays and as a condition written out: only the rules know which
        -- columns they need.
        SELECT array_agg(metric ORDER BY metric), array_agg(above ORDER BY metric), array_agg(below ORDER BY metric),
               string_agg(format('%1$I::real >= %2$L OR %1$I::real <= %3$L', metric, above, below), ' OR ')
        INTO names, from_above, from_below, passes
        FROM (
            SELECT metric, min(threshold) FILTER (WHERE comparison LIKE '>%') AS above,
                   max(threshold) FILTER (WHERE comparison LIKE '<%') AS below
            FROM unnest(judging) GROUP BY metric
        ) AS loosest;
        EXECUTE format('SELECT min(collected_at), max(collected_at), bool_or(%s) FROM fresh', passes)
        INTO oldest, newest, any_passes;
        -- Nearly every batch ends here.
        IF any_passes IS NOT TRUE AND NOT EXISTS (
            SELECT FROM alert_incidents
            WHERE resolved_at IS NULL AND rule_id = ANY(ids) AND system_id IN (SELECT system_id FROM fresh)
        ) THEN
            RETURN NULL;
        END IF;
        -- First each reading against the loosest limits, which few pass, then those few against the rules. Of what
        -- is open, nothing changes what fires and is not clear in any reading.
        -- The rules come as a parameter because the planner then knows how many there are.
        EXECUTE format($query$
            WITH seen AS MATERIALIZED (
                SELECT system_id, LEAST(collected_at, now()) AS at, ARRAY[%1$s]::real[] AS readings, %2$s AS passes
                FROM fresh
            ), rules AS MATERIALIZED (
                SELECT rule_id, array_position($3, metric) AS place, comparison, threshold,
                       COALESCE(clear_threshold, threshold) AS clear_threshold
                FROM unnest($1)
            ), suspects AS MATERIALIZED (
                SELECT system_id, place, value
                FROM seen, unnest(readings, $4, $5) WITH ORDINALITY AS one (value, above, below, place)
                WHERE passes AND (value >= above OR value <= below)
            ), open AS MATERIALIZED (
                SELECT rule_id, system_id, fired_at IS NOT NULL AND clearing_since IS NULL AS is_steady
                FROM alert_incidents  -- with a subject they are about a file system: labmon_tick_filesystems
                WHERE resolved_at IS NULL AND rule_id = ANY($2) AND subject = ''
                  AND system_id IN (SELECT system_id FROM fresh)
            ), begun AS MATERIALIZED (
                SELECT DISTINCT rule_id, system_id FROM suspects JOIN rules USING (place)
                WHERE labmon_breach(value, comparison, threshold) AND NOT EXISTS (
                    SELECT FROM open WHERE open.rule_id = rules.rule_id AND open.system_id = suspects.system_id)
            ), pairs AS MATERIALIZED (
                SELECT rule_id, system_id FROM begun JOIN alert_coverage USING (rule_id, system_id)
                UNION
                SELECT rule_id, system_id FROM open JOIN rules USING (rule_id) JOIN seen USING (system_id)
                WHERE NOT is_steady OR NOT labmon_breach(readings[place], comparison, clear_threshold)
            )
            SELECT array_agg((rule_id, system_id, '', at, readings[place], threshold,
                labmon_breach(readings[place], comparison, threshold),
                NOT labmon_breach(readings[place], comparison, clear_threshold))::labmon_sighting)
            FROM pairs JOIN rules USING (rule_id) JOIN seen USING (system_id)
            WHERE readings[place] IS NOT NULL
        $query$, (SELECT string_agg(quote_ident(name), ', ' ORDER BY place)
                  FROM unnest(names) WITH ORDINALITY AS known (name, place)), passes)
        INTO sightings USING judging, ids, names, from_above, from_below;
        IF sightings IS NULL THEN
            RETURN NULL;
        END IF;
        -- Without what is older than a reading stored before, and what maintenance keeps from being judged.
        SELECT array_agg(sighting::labmon_sighting) INTO sightings
        FROM (
            SELECT array_agg(sighting::labmon_sighting) AS own, (
                SELECT collected_at FROM metrics
                WHERE metrics.system_id = sighting.system_id AND collected_at > min(at) AND collected_at >= oldest
                  AND collected_at <= now()
                  AND NOT EXISTS (
                    SELECT FROM fresh
                    WHERE fresh.system_id = metrics.system_id AND fresh.collected_at = metrics.collected_at)
                ORDER BY collected_at DESC LIMIT 1
            ) AS newest_before
            FROM unnest(sightings) AS sighting GROUP BY system_id OFFSET 0
        ) AS clock, LATERAL unnest(own) AS sighting
        WHERE (newest_before IS NULL OR at > newest_before)
          AND (system_id NOT IN (
                SELECT system_id FROM labmon_under_maintenance(oldest, newest) WHERE mode IN ('skip', 'record'))
            OR NOT EXISTS (
                SELECT FROM labmon_under_maintenance(oldest, newest) AS kept
                WHERE kept.system_id = sighting.system_id AND mode IN ('skip', 'record')
                  AND at >= starts_at AND at < ends_at));
        PERFORM labmon_alerts_apply(sightings);
    EXCEPTION WHEN OTHERS THEN
        PERFORM labmon_alert_error('metrics', SQLERRM);
    END;
    RETURN NULL;
END
$$;
