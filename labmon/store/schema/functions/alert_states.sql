-- From what a rule saw to incidents: pending, firing, resolved.

-- The state machine: what one more reading makes of the episodes so far, of which only the last can be open.
-- `before` is where the first reading starts from. A pending episode that does not fire is removed.
-- Two readings further apart than max_gap prove nothing about the time between: the counts begin anew. So they
-- do when they began in what is still the future, by a clock that was ahead.
CREATE OR REPLACE FUNCTION labmon_alert_step(
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
        IF at - last.last_at > max_gap OR at < last.since THEN
            last.since := at;
        END IF;
        last.value := value;
        IF at - last.since >= hold THEN
            last.fired_at := at;
        END IF;
    ELSIF NOT clear THEN
        last.clearing_since := NULL;
    ELSE
        IF last.clearing_since IS NULL OR at - last.last_at > max_gap OR at < last.clearing_since THEN
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

-- The same over all readings of a system, in the order of time.
CREATE OR REPLACE AGGREGATE labmon_alert_run(
    labmon_episode[], timestamptz, real, boolean, boolean, interval, interval, interval
) (SFUNC = labmon_alert_step, STYPE = labmon_episode[]);

CREATE OR REPLACE FUNCTION labmon_breach(value real, comparison text, threshold real)
RETURNS boolean IMMUTABLE LANGUAGE sql AS $$
    SELECT CASE comparison WHEN '>' THEN value > threshold WHEN '>=' THEN value >= threshold
                           WHEN '<' THEN value < threshold ELSE value <= threshold END
$$;

-- Record what went wrong while rules were evaluated. Never raises: that something went wrong is why it is called.
CREATE OR REPLACE FUNCTION labmon_alert_error(place text, said text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO alert_errors AS known (place, said) VALUES (place, left(said, 500))
    ON CONFLICT ON CONSTRAINT alert_errors_pkey DO UPDATE SET times = known.times + 1, last_at = now();
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'alerts: %: %', place, said;
END
$$;

-- Give the planner statistics of a table to which many rows were just added, where they are a large part of it: until
-- autovacuum comes by, it takes a table for empty that has just been filled. Does nothing for a role that does not own it.
CREATE OR REPLACE FUNCTION labmon_analyze(filled regclass, added bigint) RETURNS void LANGUAGE plpgsql
SET client_min_messages = error AS $$
BEGIN
    IF added >= 500 AND added > (SELECT reltuples / 5 FROM pg_class WHERE oid = filled) THEN
        EXECUTE format('ANALYZE %s', filled);
    END IF;
END
$$;

-- Fold sightings into the incidents, each system's in the order of time; with `tell`, notify of what changed.
CREATE OR REPLACE FUNCTION labmon_alerts_apply(sightings labmon_sighting[], tell boolean DEFAULT true)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    changes labmon_change[];
    news bigint[];
    more bigint[];
BEGIN
    SELECT array_agg((alert_id, was_firing, rule_id, system_id, subject, threshold, episodes)::labmon_change
                     ORDER BY alert_id, system_id, rule_id)
    INTO changes FROM (
        SELECT incident.alert_id, incident.fired_at IS NOT NULL AS was_firing, sighting.rule_id, sighting.system_id,
               sighting.subject, max(sighting.threshold) AS threshold,
               labmon_alert_run(
                   CASE WHEN incident.alert_id IS NULL THEN '{}' ELSE ARRAY[(
                       incident.since, incident.last_at, incident.fired_at, incident.clearing_since, NULL,
                       incident.value, NULL)::labmon_episode] END,
                   sighting.at, sighting.value, breach, clear, hold, clear_hold, max_gap ORDER BY sighting.at
               ) AS episodes
        FROM unnest(sightings) AS sighting
        JOIN alert_rules AS rule USING (rule_id)
        -- OFFSET 0: through the index, one by one. The planner knows neither how many sightings there are nor how many
        -- incidents were opened a moment ago, and would compare all with all.
        LEFT JOIN LATERAL (
            SELECT * FROM alert_incidents AS open
            WHERE open.system_id = sighting.system_id AND open.rule_id = sighting.rule_id
              AND open.subject = sighting.subject AND resolved_at IS NULL OFFSET 0
        ) AS incident ON true
        GROUP BY incident.alert_id, incident.fired_at, incident.clearing_since, incident.since, incident.last_at,
                 incident.value, sighting.rule_id, sighting.system_id, sighting.subject
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

-- Acknowledge incidents. What nothing else can end (`changed`, `gone`, alerts from elsewhere) ends with it, and
-- what the machine is now is the new baseline; of a device that is gone, also that of its count. Returns those that could be acknowledged.
CREATE OR REPLACE FUNCTION labmon_alerts_acknowledge(incidents bigint[], who text, said text, moment timestamptz)
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
        DELETE FROM alert_baselines AS known USING done, alert_rules AS rule, alert_rules AS other
        WHERE rule.rule_id = done.rule_id AND known.rule_id = other.rule_id AND known.system_id = done.system_id
          AND (other.rule_id = rule.rule_id OR (
            rule.kind = 'gone' AND other.kind = 'changed'
            AND split_part(other.metric, '_', 1) = split_part(rule.metric, '_', 1)))
    )
    SELECT array_agg(alert_id ORDER BY alert_id) INTO ids FROM done;
    PERFORM labmon_alerts_tell(moment, ids);
    RETURN QUERY SELECT unnest(ids);
END
$$;

-- Trigger. Alerts that other programs sent, and those of labmon that no rule makes (a changed host key), stand beside
-- those of the rules until a person acknowledges them or their sender says that they are over. They came by the
-- queue, so they are not published again.
CREATE OR REPLACE FUNCTION labmon_alerts_on_alerts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('labmon.replay', true) = 'on' THEN
        RETURN NULL;
    END IF;
    BEGIN
        INSERT INTO alert_incidents AS known (
            alert_type, kind, system_id, severity, value, threshold, since, last_at, fired_at, told, message
        )
        SELECT DISTINCT ON (system_id, alert_type) alert_type, 'other', system_id, severity, value, threshold,
               raised_at, raised_at, raised_at, 'firing', note
        FROM fresh
        WHERE alert_id IS NULL AND state = 'firing'
          AND system_id NOT IN (SELECT system_id FROM systems WHERE NOT is_watched)
        ORDER BY system_id, alert_type, raised_at DESC
        ON CONFLICT (system_id, alert_type) WHERE resolved_at IS NULL AND kind = 'other' DO UPDATE
            SET last_at = GREATEST(known.last_at, EXCLUDED.last_at), value = EXCLUDED.value,
                severity = EXCLUDED.severity, message = COALESCE(EXCLUDED.message, known.message);
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
