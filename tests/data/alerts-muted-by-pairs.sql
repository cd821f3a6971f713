-- labmon_alerts_muted as it was while reason 4 compared all pairs: what the present one must agree with.
CREATE OR REPLACE FUNCTION pg_temp.muted_by_pairs(moment timestamptz, incidents bigint[])
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
        FROM incident JOIN alert_rules AS rule USING (rule_id), LATERAL (
            -- OFFSET 0: by the system, through the index. The planner would compare all with all.
            SELECT alert_type, severity, rule_id FROM alert_incidents AS open
            WHERE open.system_id = incident.system_id AND rule_id IS NOT NULL AND resolved_at IS NULL
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
