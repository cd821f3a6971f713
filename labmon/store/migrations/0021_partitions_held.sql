-- Who asks for a partition has it until the transaction ends: between the question and the first row
-- housekeeping could drop one that was empty.
CREATE OR REPLACE FUNCTION labmon_partition(parent text, unit text, day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first date := date_trunc(unit, day::timestamp);
    past date := first + ('1 ' || unit)::interval;
    name text := parent || '_' || to_char(first, CASE unit WHEN 'day' THEN 'YYYYMMDD' WHEN 'month' THEN 'YYYYMM' ELSE 'YYYY' END);
BEGIN
    IF NOT EXISTS (SELECT FROM pg_partitioned_table WHERE partrelid = parent::regclass) THEN
        RETURN;
    END IF;
    -- The one that every writer takes anyway. Whoever drops a partition needs the table for itself.
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
