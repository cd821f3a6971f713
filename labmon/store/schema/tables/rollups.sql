-- Readings summed up: of 5 minutes, an hour, a day (UTC); of every metric how many, least, average, most.
-- METRIC_count is NULL where it is `readings`, as it nearly always is, or 0 where there is no average.

DO $$
DECLARE
    level record;
    columns text;
BEGIN
    SELECT string_agg(
        format(
            '%1$I integer, %2$I %5$s, %3$I %6$s, %4$I %5$s', attname || '_count', attname || '_min',
            attname || '_avg', attname || '_max', format_type(atttypid, NULL),
            CASE atttypid WHEN 'real'::regtype THEN 'real' ELSE 'double precision' END
        ), ', ' ORDER BY attnum
    ) INTO columns
    FROM pg_attribute
    WHERE attrelid = 'metrics'::regclass AND attnum > 0 AND NOT attisdropped
      AND attname NOT IN ('system_id', 'collected_at');
    FOR level IN VALUES ('metrics_5m'), ('metrics_1h'), ('metrics_1d') LOOP
        EXECUTE format(
            'CREATE TABLE %I (system_id integer NOT NULL, bucket timestamptz NOT NULL, '
            'readings integer NOT NULL, %s, PRIMARY KEY (system_id, bucket)) PARTITION BY RANGE (bucket)',
            level.column1, columns
        );
    END LOOP;
END
$$;

-- What has to be summed up again. Writers only ever add to it, one row per batch and bucket, so that
-- none waits for another; a row becomes visible together with the readings that it is about, however late their
-- transaction commits.
CREATE TABLE rollup_due (
    level    text        NOT NULL,
    bucket   timestamptz NOT NULL,
    systems  integer[]   NOT NULL
);

CREATE INDEX rollup_due_bucket ON rollup_due (level, bucket);
