-- The size of a machine's disks, and the rule for one that was taken out or died.

ALTER TABLE metrics ADD COLUMN disk_total_bytes bigint;
ALTER TABLE metrics_packed ADD COLUMN disk_total_bytes bytea;
ALTER TABLE metrics_packing ADD COLUMN disk_total_bytes bytea;

DO $$
DECLARE
    level text;
BEGIN
    FOREACH level IN ARRAY ARRAY['metrics_5m', 'metrics_1h', 'metrics_1d'] LOOP
        EXECUTE format(
            'ALTER TABLE %I ADD COLUMN disk_total_bytes_count integer, ADD COLUMN disk_total_bytes_min bigint, '
            'ADD COLUMN disk_total_bytes_avg double precision, ADD COLUMN disk_total_bytes_max bigint', level
        );
    END LOOP;
END
$$;

SELECT labmon_make_readings();

-- A value that is not what it was, or no longer there at all in `least` successive readings. Nothing but an
-- acknowledgement ends it: whoever puts the memory back has still been at the machine. From nothing to something
-- is a change of 100 %, or the disk put in after the only one died would never be missed again.
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
                ELSE labmon_breach(
                    COALESCE(100 * abs(value - base) / NULLIF(abs(base), 0), 100 * sign(abs(value)))::real,
                    $1.comparison, $1.threshold)
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

-- Sizes of disks do not drift, but the same disks are a millionth smaller for Windows, which counts whole
-- cylinders; and the smallest of many can be a hundredth of all. Whoever removed or changed the rule about memory
-- gets none about disks, or one as they made that.
INSERT INTO alert_rules (
    name, kind, metric, comparison, threshold, hold, clear_hold, max_gap, repeat_after, severity, enabled, note
)
SELECT 'disk_changed', 'changed', 'disk_total_bytes', '>', 0.5, hold, clear_hold, max_gap, repeat_after, severity,
       enabled, 'A disk was taken out, put in, or died. Acknowledge it to keep the new size.'
FROM alert_rules
WHERE name = 'ram_changed' AND kind = 'changed' AND num_nonnulls(dept_id, lab_id, system_id) = 0
ON CONFLICT DO NOTHING;
