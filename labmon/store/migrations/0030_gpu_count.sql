-- How many GPUs of a machine answer their driver, and the rule for one that is lost.
ALTER TABLE metrics ADD COLUMN gpu_count bigint;
ALTER TABLE metrics_packed ADD COLUMN gpu_count bytea;
ALTER TABLE metrics_packing ADD COLUMN gpu_count bytea;

DO $$
DECLARE
    level text;
BEGIN
    FOREACH level IN ARRAY ARRAY['metrics_5m', 'metrics_1h', 'metrics_1d'] LOOP
        EXECUTE format(
            'ALTER TABLE %I ADD COLUMN gpu_count_count integer, ADD COLUMN gpu_count_min bigint, '
            'ADD COLUMN gpu_count_avg double precision, ADD COLUMN gpu_count_max bigint', level
        );
    END LOOP;
END
$$;

-- An administrator who removed or changed the rule gpu_gone gets none about the count, or one as they made that.
-- Without triggers, which may call functions that are made again only after this.
ALTER TABLE alert_rules DISABLE TRIGGER USER;
INSERT INTO alert_rules (
    name, kind, metric, comparison, threshold, hold, clear_hold, max_gap, repeat_after, severity, enabled, note
)
SELECT 'gpu_changed', 'changed', 'gpu_count', '>', 0, hold, clear_hold, max_gap, repeat_after, severity, enabled,
       'A GPU was taken out, put in, or no longer answers. Acknowledge it to keep the new count.'
FROM alert_rules
WHERE name = 'gpu_gone' AND kind = 'gone' AND num_nonnulls(dept_id, lab_id, system_id) = 0
ON CONFLICT DO NOTHING;
ALTER TABLE alert_rules ENABLE TRIGGER USER;
