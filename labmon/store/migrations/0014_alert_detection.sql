-- From readings to incidents, and from incidents to the outbox.

CREATE TYPE labmon_episode AS (
    since timestamptz, last_at timestamptz, fired_at timestamptz, clearing_since timestamptz,
    resolved_at timestamptz, value real, clear_value real
);

-- The state machine: what one more reading makes of the episodes so far, of which only the last can be open.
-- `before` is where the first reading starts from. A pending episode that is not to be is forgotten.
-- Two readings further apart than max_gap prove nothing about the time between: the counts begin anew.
CREATE FUNCTION labmon_alert_step(
    episodes labmon_episode[], before labmon_episode[], at timestamptz, value real, breach boolean,
    clear boolean, hold interval, clear_hold interval, max_gap interval
) RETURNS labmon_episode[] IMMUTABLE LANGUAGE plpgsql AS $$
DECLARE
    place integer;
    last labmon_episode;
BEGIN
    episodes := COALESCE(episodes, before);
    place := cardinality(episodes);
    last := episodes[place];
    IF place = 0 OR last.resolved_at IS NOT NULL THEN
        IF breach THEN
            episodes[place + 1] := (at, at, CASE WHEN hold = '0' THEN at END, NULL, NULL, value, NULL);
        END IF;
        RETURN episodes;
    END IF;
    IF last.fired_at IS NULL THEN
        IF NOT breach THEN
            RETURN episodes[1:place - 1];
        END IF;
        IF at - last.last_at > max_gap THEN
            last.since := at;
        END IF;
        last.value := value;
        IF at - last.since >= hold THEN
            last.fired_at := at;
        END IF;
    ELSIF NOT clear THEN
        last.clearing_since := NULL;
    ELSE
        IF last.clearing_since IS NULL OR at - last.last_at > max_gap THEN
            last.clearing_since := at;
        END IF;
        IF at - last.clearing_since >= clear_hold THEN
            last.resolved_at := at;
            last.clear_value := value;
        END IF;
    END IF;
    last.last_at := at;
    episodes[place] := last;
    RETURN episodes;
END
$$;

CREATE AGGREGATE labmon_alert_run(
    labmon_episode[], timestamptz, real, boolean, boolean, interval, interval, interval
) (SFUNC = labmon_alert_step, STYPE = labmon_episode[]);

-- What a rule saw of a system (or, with system 0, of a subject) at a moment.
CREATE TYPE labmon_sighting AS (
    rule_id integer, system_id integer, subject text, at timestamptz, value real, threshold real,
    breach boolean, clear boolean
);

CREATE FUNCTION labmon_breach(value real, comparison text, threshold real)
RETURNS boolean IMMUTABLE LANGUAGE sql AS $$
    SELECT CASE comparison WHEN '>' THEN value > threshold WHEN '>=' THEN value >= threshold
                           WHEN '<' THEN value < threshold ELSE value <= threshold END
$$;

CREATE TYPE labmon_change AS (
    alert_id bigint, was_firing boolean, rule_id integer, system_id integer, subject text, threshold real,
    episodes labmon_episode[]
);

-- Why these incidents are not to be told at that moment; those to be told have no row.
CREATE FUNCTION labmon_alerts_muted(moment timestamptz, incidents bigint[])
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
    ) AS reasons (alert_id, place, why)
    ORDER BY alert_id, place
$$;

-- Put into the outbox whatever has not been told as it is: of these incidents, or of all. `moment` is the time
-- by which maintenance and repeats are judged. Returns how many.
CREATE FUNCTION labmon_alerts_tell(moment timestamptz, incidents bigint[] DEFAULT NULL)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    due bigint[];
    number integer;
BEGIN
    SELECT array_agg(alert_id) INTO due FROM (
        SELECT alert_id FROM alert_incidents
        WHERE (incidents IS NULL OR alert_id = ANY(incidents)) AND (
            (resolved_at IS NULL AND fired_at IS NOT NULL AND acknowledged_at IS NULL AND kind <> 'other'
                AND (told IS NULL OR repeat_at <= moment))
            OR (resolved_at IS NOT NULL AND told = 'firing'))
        ORDER BY alert_id FOR UPDATE SKIP LOCKED
    ) AS locked;
    IF due IS NULL THEN
        RETURN 0;
    END IF;
    WITH mute AS MATERIALIZED (
        SELECT * FROM labmon_alerts_muted(moment, due)
    ), kept AS (
        UPDATE alert_incidents AS incident SET muted = why FROM mute
        WHERE incident.alert_id = mute.alert_id AND muted IS DISTINCT FROM why
    ), telling AS (
        SELECT incident.*, name, note, repeat_after,
               CASE WHEN resolved_at IS NOT NULL THEN resolved_at WHEN told IS NULL THEN fired_at ELSE moment END AS at,
               CASE WHEN resolved_at IS NULL AND told IS NOT NULL THEN repeats + 1 ELSE 0 END AS repeat
        FROM alert_incidents AS incident LEFT JOIN alert_rules USING (rule_id)
        WHERE alert_id = ANY(due) AND alert_id NOT IN (SELECT alert_id FROM mute)
    ), changed AS (
        UPDATE alert_incidents AS incident SET
            told = telling.state,
            muted = NULL,
            repeats = telling.repeat,
            -- Twice as long each time, a day at most.
            repeat_at = CASE WHEN repeat_after > '0' THEN
                moment + LEAST(repeat_after * 2 ^ LEAST(telling.repeat, 20), GREATEST('1 day', repeat_after)) END
        FROM telling WHERE incident.alert_id = telling.alert_id
    ), logged AS (
        INSERT INTO alert_log (alert_id, at, event, comment)
        SELECT alert_id, moment, CASE WHEN repeat > 0 THEN 'repeated' ELSE 'told' END, state FROM telling
    ), written AS (
        INSERT INTO alert_outbox (alert_id, severity, body)
        SELECT alert_id, severity, jsonb_strip_nulls(jsonb_build_object(
            'system_id', system_id,
            'alert_type', alert_type || COALESCE(':' || NULLIF(subject, ''), ''),
            'severity', severity,
            'value', COALESCE(CASE WHEN resolved_at IS NOT NULL THEN clear_value END, value),
            'threshold', threshold,
            'timestamp', labmon_moment(at),
            'state', state,
            'alert_id', alert_id,
            'rule', COALESCE(name, alert_type),
            'since', labmon_moment(fired_at),
            'note', note,
            'subject', NULLIF(subject, ''),
            'dept_id', dept_id,
            'lab_id', lab_id,
            'covers', (SELECT jsonb_agg(known) FROM (
                SELECT COALESCE(hostname, host(ip_address), 'system ' || system_id) AS known
                FROM alert_covers JOIN systems USING (system_id)
                WHERE alert_covers.alert_id = telling.alert_id ORDER BY ip_address, system_id LIMIT 100) AS names),
            'covered', (SELECT NULLIF(count(*), 0) FROM alert_covers WHERE alert_covers.alert_id = telling.alert_id),
            'repeat', NULLIF(repeat, 0),
            'reason', CASE WHEN told IS NULL THEN 'not told before: ' || muted ELSE reason END
        ))
        FROM telling ORDER BY at, alert_id
        RETURNING 1
    )
    SELECT count(*) INTO number FROM written;
    IF number > 0 THEN
        PERFORM pg_notify('labmon_alerts', '');
    END IF;
    RETURN number;
END
$$;

-- As the messages write it.
CREATE FUNCTION labmon_moment(at timestamptz) RETURNS text STABLE STRICT LANGUAGE sql AS $$
    SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- Fold sightings into the incidents, each system's in the order of time, and `tell` what that changed.
CREATE FUNCTION labmon_alerts_apply(sightings labmon_sighting[], tell boolean DEFAULT true)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    changes labmon_change[];
    news bigint[];
    more bigint[];
BEGIN
    SELECT array_agg((alert_id, was_firing, rule_id, system_id, subject, threshold, episodes)::labmon_change
                     ORDER BY alert_id, system_id, rule_id)
    INTO changes FROM (
        SELECT incident.alert_id, incident.fired_at IS NOT NULL AS was_firing, rule_id, system_id, subject,
               max(sighting.threshold) AS threshold,
               labmon_alert_run(
                   CASE WHEN incident.alert_id IS NULL THEN '{}' ELSE ARRAY[(
                       incident.since, incident.last_at, incident.fired_at, incident.clearing_since, NULL,
                       incident.value, NULL)::labmon_episode] END,
                   sighting.at, sighting.value, breach, clear, hold, clear_hold, max_gap ORDER BY sighting.at
               ) AS episodes
        FROM unnest(sightings) AS sighting
        JOIN (SELECT rule_id, hold, clear_hold, max_gap FROM alert_rules) AS rule USING (rule_id)
        LEFT JOIN (SELECT * FROM alert_incidents WHERE resolved_at IS NULL AND rule_id IS NOT NULL) AS incident
            USING (system_id, rule_id, subject)
        GROUP BY incident.alert_id, incident.fired_at, incident.clearing_since, incident.since, incident.last_at,
                 incident.value, rule_id, system_id, subject
        -- What stays as it is needs no writing: this keeps a thousand steady alerts free.
        HAVING CASE WHEN incident.alert_id IS NULL THEN bool_or(breach)
               ELSE incident.fired_at IS NULL OR incident.clearing_since IS NOT NULL OR bool_or(clear) END
    ) AS folded;
    IF changes IS NULL THEN
        RETURN;
    END IF;

    DELETE FROM alert_incidents USING unnest(changes) AS change
    WHERE alert_incidents.alert_id = change.alert_id AND cardinality(episodes) = 0;

    WITH updated AS (
        UPDATE alert_incidents AS incident SET
            since = (episodes[1]).since, last_at = (episodes[1]).last_at, fired_at = (episodes[1]).fired_at,
            clearing_since = (episodes[1]).clearing_since, resolved_at = (episodes[1]).resolved_at,
            value = (episodes[1]).value, clear_value = (episodes[1]).clear_value,
            threshold = CASE WHEN was_firing THEN incident.threshold ELSE change.threshold END,
            severity = CASE WHEN was_firing THEN incident.severity ELSE rule.severity END
        FROM unnest(changes) AS change JOIN alert_rules AS rule USING (rule_id)
        WHERE incident.alert_id = change.alert_id AND incident.resolved_at IS NULL AND cardinality(episodes) > 0
        RETURNING incident.alert_id, was_firing, incident.fired_at, incident.resolved_at
    ), logged AS (
        INSERT INTO alert_log (alert_id, at, event)
        SELECT alert_id, at, event FROM updated,
            LATERAL (VALUES (fired_at, 'fired', NOT was_firing), (resolved_at, 'resolved', true))
                AS step (at, event, new)
        WHERE at IS NOT NULL AND new
        RETURNING alert_id
    )
    SELECT array_agg(alert_id) INTO news FROM logged;

    WITH inserted AS (
        INSERT INTO alert_incidents (
            rule_id, alert_type, kind, system_id, subject, dept_id, lab_id, severity, value, clear_value,
            threshold, since, last_at, fired_at, clearing_since, resolved_at
        )
        SELECT rule_id, rule.name, rule.kind, change.system_id, change.subject,
               labs.dept_id, labs.lab_id, rule.severity, episode.value, episode.clear_value, change.threshold, episode.since,
               episode.last_at, episode.fired_at, episode.clearing_since, episode.resolved_at
        FROM unnest(changes) AS change JOIN alert_rules AS rule USING (rule_id)
        LEFT JOIN labs ON rule.kind = 'lab_down' AND change.subject = 'lab ' || labs.lab_id,
            LATERAL unnest(episodes) WITH ORDINALITY AS episode
                (since, last_at, fired_at, clearing_since, resolved_at, value, clear_value, number)
        WHERE change.alert_id IS NULL OR number > 1
        ORDER BY episode.since, change.system_id, rule_id
        ON CONFLICT DO NOTHING
        RETURNING alert_id, fired_at, resolved_at
    ), logged AS (
        INSERT INTO alert_log (alert_id, at, event)
        SELECT alert_id, at, event FROM inserted,
            LATERAL (VALUES (fired_at, 'fired'), (resolved_at, 'resolved')) AS step (at, event)
        WHERE at IS NOT NULL
        RETURNING alert_id
    )
    SELECT array_agg(alert_id) INTO more FROM logged;

    news := news || more;
    IF tell AND news IS NOT NULL THEN
        PERFORM labmon_alerts_tell((SELECT max(at) FROM unnest(sightings)), news);
    END IF;
END
$$;

-- Never raises: what it is called for has gone wrong already.
CREATE FUNCTION labmon_alert_error(place text, said text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO alert_errors AS known (place, said) VALUES (place, left(said, 500))
    ON CONFLICT ON CONSTRAINT alert_errors_pkey DO UPDATE SET times = known.times + 1, last_at = now();
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'alerts: %: %', place, said;
END
$$;

-- Only rows that were really inserted are in `fresh`. Nothing in here can fail the insert.
-- jit: the planner expects a thousand days of every maintenance, and would compile for a second what runs for one
-- millisecond.
CREATE FUNCTION labmon_alerts_on_metrics() RETURNS trigger LANGUAGE plpgsql SET jit = off AS $$
DECLARE
    names text[];
    judging alert_rules[];
    passes text;
    sightings labmon_sighting[];
    oldest timestamptz;
    newest timestamptz;
BEGIN
    IF current_setting('labmon.replay', true) = 'on' THEN
        RETURN NULL;
    END IF;
    BEGIN
        SELECT array_agg(DISTINCT metric), array_agg(alert_rules) INTO names, judging
        FROM alert_rules JOIN pg_attribute
            ON attrelid = 'metrics'::regclass AND attname = metric AND attnum > 2 AND NOT attisdropped
        WHERE enabled AND kind = 'threshold';
        SELECT min(collected_at), max(collected_at) INTO oldest, newest FROM fresh;
        IF names IS NULL OR oldest IS NULL THEN
            RETURN NULL;
        END IF;
        -- One at a time, so that each sees what the one before made of the same systems.
        PERFORM pg_advisory_xact_lock(hashtext('labmon_alerts'));
        SELECT string_agg(format('%I %s %L', metric, CASE WHEN upward THEN '>=' ELSE '<=' END, bound), ' OR ')
        INTO passes FROM (
            SELECT metric, comparison LIKE '>%' AS upward,
                   CASE WHEN comparison LIKE '>%' THEN min(threshold) ELSE max(threshold) END AS bound
            FROM unnest(judging) GROUP BY metric, upward
        ) AS loosest;
        -- Written out because only the rules know which columns they need. First each reading against the
        -- loosest limits, which few pass; then those few, and what is open, against the rules.
        -- The rules come as a parameter because the planner then knows how many there are.
        EXECUTE format($query$
            WITH seen AS MATERIALIZED (
                SELECT system_id, collected_at, ARRAY[%s]::real[] AS readings, %s AS passes FROM fresh
            ), rules AS MATERIALIZED (
                SELECT rule_id, array_position($1, metric) AS place, comparison, threshold,
                       COALESCE(clear_threshold, threshold) AS clear_threshold
                FROM unnest($2)
            ), suspects AS MATERIALIZED (
                SELECT system_id, readings FROM seen WHERE passes
            ), pairs AS MATERIALIZED (
                SELECT system_id, rules.* FROM (
                    SELECT DISTINCT rule_id, system_id FROM suspects CROSS JOIN rules
                    WHERE labmon_breach(readings[place], comparison, threshold)
                ) AS breaching JOIN alert_coverage USING (rule_id, system_id) JOIN rules USING (rule_id)
                UNION
                SELECT system_id, rules.* FROM alert_incidents JOIN rules USING (rule_id)
                WHERE resolved_at IS NULL AND system_id IN (SELECT system_id FROM fresh)
            )
            SELECT array_agg((rule_id, system_id, '', collected_at, readings[place], threshold,
                labmon_breach(readings[place], comparison, threshold),
                NOT labmon_breach(readings[place], comparison, clear_threshold))::labmon_sighting)
            FROM pairs JOIN seen USING (system_id)
            WHERE readings[place] IS NOT NULL
        $query$, (SELECT string_agg(quote_ident(name), ', ' ORDER BY place)
                  FROM unnest(names) WITH ORDINALITY AS known (name, place)), passes)
        INTO sightings USING names, judging;
        IF sightings IS NULL THEN
            RETURN NULL;
        END IF;
        -- Without what is older than a reading stored before, and what maintenance keeps from being judged.
        SELECT array_agg(sighting::labmon_sighting) INTO sightings
        FROM (
            SELECT array_agg(sighting::labmon_sighting) AS own, (
                SELECT collected_at FROM metrics
                WHERE metrics.system_id = sighting.system_id AND collected_at > min(at) AND collected_at >= oldest
                  AND NOT EXISTS (
                    SELECT FROM fresh
                    WHERE fresh.system_id = metrics.system_id AND fresh.collected_at = metrics.collected_at)
                ORDER BY collected_at DESC LIMIT 1
            ) AS newest_before
            FROM unnest(sightings) AS sighting GROUP BY system_id OFFSET 0
        ) AS clock, LATERAL unnest(own) AS sighting
        WHERE (newest_before IS NULL OR at > newest_before)
          AND NOT EXISTS (
            SELECT FROM labmon_under_maintenance(oldest, newest) AS kept
            WHERE kept.system_id = sighting.system_id AND mode IN ('skip', 'record')
              AND at >= starts_at AND at < ends_at);
        PERFORM labmon_alerts_apply(sightings);
    EXCEPTION WHEN OTHERS THEN
        PERFORM labmon_alert_error('metrics', SQLERRM);
    END;
    RETURN NULL;
END
$$;

CREATE TRIGGER labmon_alerts AFTER INSERT ON metrics REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION labmon_alerts_on_metrics();
