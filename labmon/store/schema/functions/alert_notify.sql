-- From incidents to the outbox: what is notified, and what is muted.

-- A moment as messages write it. Not STRICT: a strict function is called row by row, this one becomes part of the
-- statement.
CREATE OR REPLACE FUNCTION labmon_moment(at timestamptz) RETURNS text STABLE LANGUAGE sql AS $$
    SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- Of these incidents the groups (labs, networks) that are all within another group with an open incident, and which.
-- Of two groups the one counts that covers more; of two that cover the same the lab, then the smaller network. A
-- group of which every system was removed is within any other.
-- A system is in few groups, so this grows with the number of systems; comparing each group with each would not.
-- enable_nestloop = off: see labmon_group_members.
CREATE OR REPLACE FUNCTION labmon_larger_groups(incidents bigint[]) RETURNS TABLE (alert_id bigint, why text)
STABLE LANGUAGE plpgsql SET enable_nestloop = off AS $$
#variable_conflict use_column
BEGIN
    -- Nearly every call ends here.
    IF NOT EXISTS (SELECT FROM alert_incidents WHERE alert_id = ANY(incidents) AND resolved_at IS NULL
                   AND kind IN ('lab_down', 'network_down')) THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH covered AS MATERIALIZED (
        SELECT alert_id, cover.system_id FROM alert_covers AS cover JOIN alert_incidents USING (alert_id)
        WHERE kind IN ('lab_down', 'network_down') AND resolved_at IS NULL
    ), sizes AS (
        SELECT alert_id, count(*) AS size FROM covered GROUP BY alert_id
    ), groups AS MATERIALIZED (
        SELECT alert_id, alert_type, kind, subject, COALESCE(size, 0) AS size
        FROM alert_incidents LEFT JOIN sizes USING (alert_id)
        WHERE kind IN ('lab_down', 'network_down') AND resolved_at IS NULL
    ), own AS MATERIALIZED (
        SELECT * FROM groups WHERE alert_id = ANY(incidents)
    ), within AS (
        SELECT one.alert_id, other.alert_id AS larger_id
        FROM own JOIN covered AS one USING (alert_id) JOIN covered AS other USING (system_id)
        GROUP BY one.alert_id, other.alert_id, own.size HAVING count(*) = own.size
        UNION ALL
        SELECT own.alert_id, groups.alert_id FROM own, groups WHERE own.size = 0
    )
    SELECT DISTINCT ON (own.alert_id) own.alert_id, 'under ' || larger.alert_type || ' ' || larger.subject
    FROM within JOIN own ON own.alert_id = within.alert_id JOIN groups AS larger ON larger.alert_id = within.larger_id
    WHERE larger.size > own.size OR larger.size = own.size
          AND (larger.kind, length(larger.subject)) < (own.kind, length(own.subject))
    ORDER BY own.alert_id, larger.size DESC, larger.alert_id;
END
$$;

-- The file system that an incident is about: its subject or, of the readings' disk_percent, the root, where there is one.
CREATE OR REPLACE FUNCTION labmon_alert_mount(system integer, subject text, metric text) RETURNS text
STABLE LANGUAGE sql AS $$
    SELECT CASE WHEN metric = 'disk_percent' AND system <> 0 THEN COALESCE(
        NULLIF(subject, ''), (SELECT mount FROM filesystems WHERE system_id = system AND mount = '/')) END
$$;

-- Why these incidents are not to be notified at that moment; the others have no row. Of two limits of one metric
-- only the worse is notified: a disk that is full is not reported as nearly full as well.
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
        SELECT alert_id, 4, why FROM labmon_larger_groups(incidents)
        UNION ALL
        SELECT incident.alert_id, 5, 'under ' || larger.alert_type
        FROM incident, alert_incidents AS larger
        WHERE incident.kind IN ('no_data', 'lab_down', 'network_down')
          AND larger.kind = 'collector_down' AND larger.resolved_at IS NULL
        UNION ALL
        SELECT incident.alert_id, 6, 'under ' || worse.alert_type
        FROM incident JOIN alert_rules AS rule USING (rule_id), LATERAL (
            -- OFFSET 0: by the system, through the index. The planner would compare all with all.
            SELECT alert_type, severity, rule_id FROM alert_incidents AS open
            WHERE open.system_id = incident.system_id AND open.subject = incident.subject AND rule_id IS NOT NULL AND resolved_at IS NULL
              AND kind = 'threshold' AND fired_at IS NOT NULL OFFSET 0
        ) AS worse JOIN alert_rules AS its ON its.rule_id = worse.rule_id
        WHERE its.metric = rule.metric
          AND (incident.kind = 'rate'
               OR incident.kind = 'threshold' AND left(its.comparison, 1) = left(rule.comparison, 1))
          AND array_position('{info,warning,critical}', incident.severity)
              < array_position('{info,warning,critical}', worse.severity)
    ) AS reasons (alert_id, place, why)
    ORDER BY alert_id, place
$$;

-- Put into the outbox what has not been notified in its present state: of these incidents, or of all. `moment` is
-- the time by which maintenance and repeats are judged. Returns how many.
CREATE OR REPLACE FUNCTION labmon_alerts_tell(moment timestamptz, incidents bigint[] DEFAULT NULL)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    due bigint[];
    number integer;
BEGIN
    -- A call for all of them must not read the history: only open incidents, and ended ones not notified yet.
    incidents := COALESCE(incidents, ARRAY(
        SELECT alert_id FROM alert_incidents
        WHERE resolved_at IS NULL AND rule_id IS NOT NULL AND fired_at IS NOT NULL
        UNION ALL
        SELECT alert_id FROM alert_incidents WHERE resolved_at IS NOT NULL AND told = 'firing'));
    SELECT array_agg(alert_id) INTO due FROM (
        SELECT alert_id FROM alert_incidents
        WHERE alert_id = ANY(incidents) AND (
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
        SELECT incident.*, name, note, metric, repeat_after, incident.kind IN ('lab_down', 'network_down') AS is_larger,
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
            'mount', labmon_alert_mount(system_id, subject, metric),
            'subject', NULLIF(subject, ''),
            'dept_id', dept_id,
            'lab_id', lab_id,
            'covers', CASE WHEN is_larger THEN (SELECT jsonb_agg(known) FROM (
                SELECT COALESCE(hostname, host(ip_address), 'system ' || system_id) AS known
                FROM alert_covers JOIN systems USING (system_id)
                WHERE alert_covers.alert_id = telling.alert_id ORDER BY ip_address, system_id LIMIT 100) AS names) END,
            'covered', CASE WHEN is_larger THEN (
                SELECT NULLIF(count(*), 0) FROM alert_covers WHERE alert_covers.alert_id = telling.alert_id) END,
            'repeat', NULLIF(repeat, 0),
            'reason', CASE WHEN told IS NULL THEN 'held until now: ' || muted ELSE reason END,
            'kind', kind,
            'metric', metric
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
