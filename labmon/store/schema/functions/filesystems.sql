-- Rules about disk_percent over every local file system but the root, which is in the readings: an alert of its own
-- for each mount, whose subject is the mount. A use is sent when it changed by more than a point, so what was sent
-- last counts at the system's newest reading. Called by the tick.
CREATE OR REPLACE FUNCTION labmon_tick_filesystems(moment timestamptz, observed jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    sightings labmon_sighting[];
BEGIN
    -- Nearly every call ends after this: of the file systems, those past the loosest limit, and what is open.
    SELECT array_agg((rule_id, system_id, mount, at, used_percent, threshold,
                      labmon_breach(used_percent, comparison, threshold),
                      NOT labmon_breach(used_percent, comparison, COALESCE(clear_threshold, threshold))
                     )::labmon_sighting)
    INTO sightings
    FROM (
        SELECT rule_id, cover.system_id, mount, used_percent, comparison, threshold, clear_threshold,
               LEAST(GREATEST(systems.last_collected, filesystems.asked_at), moment) AS at
        FROM alert_rules JOIN alert_coverage AS cover USING (rule_id)
        JOIN filesystems ON filesystems.system_id = cover.system_id
        JOIN systems ON systems.system_id = cover.system_id
        WHERE enabled AND kind = 'threshold' AND metric = 'disk_percent' AND mount <> '/'
    ) AS seen
    WHERE (labmon_breach(used_percent, comparison, threshold) OR EXISTS (
            SELECT FROM alert_incidents AS open
            WHERE open.system_id = seen.system_id AND open.rule_id = seen.rule_id AND open.subject = seen.mount
              AND resolved_at IS NULL))
      AND system_id NOT IN (
        SELECT system_id FROM labmon_under_maintenance(moment, moment) WHERE mode IN ('skip', 'record'));
    PERFORM labmon_alerts_apply(sightings, false);
    PERFORM labmon_tick_growth(moment);

    -- What is not mounted any more is neither full nor filling.
    WITH ended AS (
        UPDATE alert_incidents SET resolved_at = GREATEST(moment, since), reason = 'no longer mounted'
        FROM alert_rules AS rule
        WHERE rule.rule_id = alert_incidents.rule_id AND rule.metric = 'disk_percent'
          AND alert_incidents.kind IN ('threshold', 'rate') AND resolved_at IS NULL AND fired_at IS NOT NULL
          AND subject <> '' AND NOT EXISTS (
            SELECT FROM filesystems
            WHERE filesystems.system_id = alert_incidents.system_id AND mount = subject)
        RETURNING alert_id, resolved_at
    )
    INSERT INTO alert_log (alert_id, at, event) SELECT alert_id, resolved_at, 'resolved' FROM ended;
    DELETE FROM alert_incidents USING alert_rules AS rule
    WHERE rule.rule_id = alert_incidents.rule_id AND rule.metric = 'disk_percent'
      AND alert_incidents.kind IN ('threshold', 'rate') AND resolved_at IS NULL AND fired_at IS NULL
      AND subject <> '' AND NOT EXISTS (
        SELECT FROM filesystems WHERE filesystems.system_id = alert_incidents.system_id AND mount = subject);
END
$$;

-- When a file system will be full, by the straight line through its use in the rule's span: what was sent within it,
-- what it was at its beginning, and what it is. One that rises by less than a point is flat; one that is not known for
-- half of the span says nothing.
CREATE OR REPLACE FUNCTION labmon_tick_growth(moment timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    sightings labmon_sighting[];
BEGIN
    SELECT array_agg((rule_id, system_id, mount, at, hours, threshold, labmon_breach(hours, comparison, threshold),
                      NOT labmon_breach(hours, comparison, COALESCE(clear_threshold, threshold)))::labmon_sighting)
    INTO sightings
    FROM (
        SELECT rule_id, system_id, mount, at, threshold, comparison, clear_threshold,
               CASE WHEN slope * EXTRACT(epoch FROM span) < 1 THEN 1e6
               ELSE GREATEST(0, LEAST(1e6, (100 - used_percent) / slope / 3600)) END::real AS hours
        FROM (
            SELECT rule_id, cover.system_id, mount, threshold, comparison, clear_threshold, span, used_percent,
                   LEAST(GREATEST(systems.last_collected, filesystems.asked_at), moment) AS at
            FROM alert_rules JOIN alert_coverage AS cover USING (rule_id)
            JOIN filesystems ON filesystems.system_id = cover.system_id
            JOIN systems ON systems.system_id = cover.system_id
            WHERE enabled AND kind = 'rate' AND metric = 'disk_percent' AND mount <> '/'
              AND evaluated_at = moment  -- by labmon_tick_rate, which comes before
        ) AS now JOIN LATERAL (
            SELECT count(*), regr_slope(value, EXTRACT(epoch FROM point.at - moment)::double precision) AS slope,
                   max(point.at) - min(point.at) AS covered
            FROM (
                SELECT past.at, past.used_percent AS value FROM filesystem_history AS past
                WHERE past.system_id = now.system_id AND past.mount = now.mount
                  AND past.at > moment - span AND past.at <= moment
                UNION ALL (
                    SELECT moment - span, past.used_percent FROM filesystem_history AS past
                    WHERE past.system_id = now.system_id AND past.mount = now.mount AND past.at <= moment - span
                    ORDER BY past.at DESC LIMIT 1)
                UNION ALL
                SELECT now.at, now.used_percent
            ) AS point
        ) AS line ON count >= 3 AND covered >= span / 2
    ) AS trend
    WHERE labmon_breach(hours, comparison, threshold) OR EXISTS (
        SELECT FROM alert_incidents AS open
        WHERE open.system_id = trend.system_id AND open.rule_id = trend.rule_id AND open.subject = trend.mount
          AND resolved_at IS NULL);
    PERFORM labmon_alerts_apply(sightings, false);
END
$$;
