-- Partitions by day, month and year.

-- Make sure that a table partitioned by day, month or year (UTC) has the partition of this day:
-- PARENT_YYYYMMDD, PARENT_YYYYMM or PARENT_YYYY; nothing to do for a table without partitions. Attaching, unlike
-- CREATE ... PARTITION OF, does not lock out readers and writers of the other partitions. The partition stays
-- until the caller's transaction ends: otherwise housekeeping could drop it, being empty, before the first row.
CREATE OR REPLACE FUNCTION labmon_partition(parent text, unit text, day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first date := date_trunc(unit, day::timestamp);
    past date := first + ('1 ' || unit)::interval;
    name text := parent || '_' || to_char(first, CASE unit WHEN 'day' THEN 'YYYYMMDD' WHEN 'month' THEN 'YYYYMM' ELSE 'YYYY' END);
BEGIN
    IF NOT EXISTS (SELECT FROM pg_partitioned_table WHERE partrelid = parent::regclass) THEN
        RETURN;
    END IF;
    -- The one that every writer takes anyway. Dropping a partition needs the table exclusively.
    EXECUTE format('LOCK TABLE ONLY %I IN ROW EXCLUSIVE MODE', parent);
    IF to_regclass(name) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('labmon_partition'));
    -- Not to_regclass, which may go by what this session believed before it waited.
    IF EXISTS (SELECT FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
               WHERE inhparent = parent::regclass AND relname = name) THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', name, parent);
    EXECUTE format(
        'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, name,
        first::timestamp AT TIME ZONE 'UTC', past::timestamp AT TIME ZONE 'UTC'
    );
END
$$;

-- The same for a day of readings.
CREATE OR REPLACE FUNCTION labmon_metrics_day(day date) RETURNS void LANGUAGE sql AS $$
    SELECT labmon_partition('metrics', 'day', day)
$$;

-- Keep a day from being packed until the transaction ends.
CREATE OR REPLACE FUNCTION labmon_hold_day(day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text := 'metrics_' || to_char(day, 'YYYYMMDD');
BEGIN
    PERFORM labmon_metrics_day(day);
    IF to_regclass(name) IS NOT NULL THEN
        EXECUTE format('LOCK TABLE %I IN ROW EXCLUSIVE MODE', name);
    END IF;
END
$$;
