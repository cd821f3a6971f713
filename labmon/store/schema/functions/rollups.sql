-- The sums of readings: which of them are due.

-- The start of the bucket that a moment is in, for every width that divides a day.
CREATE OR REPLACE FUNCTION labmon_bucket(width interval, at timestamptz) RETURNS timestamptz
IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql AS $$
    SELECT date_bin(width, at, '2000-01-01 00:00:00+00')
$$;

-- Trigger: readings were stored, so the sums of their 5 minutes are due.
CREATE OR REPLACE FUNCTION labmon_metrics_due() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO rollup_due (level, bucket, systems)
    SELECT '5m', labmon_bucket('5 minutes', collected_at) AS bucket, array_agg(system_id)
    FROM fresh GROUP BY 2;
    RETURN NULL;
END
$$;
