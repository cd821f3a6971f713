-- Every accepted message as it came. A batch is a row: what its messages have in common, which is most, is
-- compressed away by TOAST, and one row costs the workers less than five hundred.

-- Make sure that a table partitioned by day, month or year (UTC) has the partition of this day:
-- PARENT_YYYYMMDD, PARENT_YYYYMM or PARENT_YYYY. Attaching, unlike CREATE ... PARTITION OF, does not lock out
-- those who read and write the other partitions.
CREATE FUNCTION labmon_partition(parent text, unit text, day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first date := date_trunc(unit, day::timestamp);
    past date := first + ('1 ' || unit)::interval;
    name text := parent || '_' || to_char(first, CASE unit WHEN 'day' THEN 'YYYYMMDD' WHEN 'month' THEN 'YYYYMM' ELSE 'YYYY' END);
BEGIN
    IF to_regclass(name) IS NOT NULL OR NOT EXISTS (SELECT FROM pg_partitioned_table WHERE partrelid = parent::regclass) THEN
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

CREATE OR REPLACE FUNCTION labmon_metrics_day(day date) RETURNS void LANGUAGE sql AS $$
    SELECT labmon_partition('metrics', 'day', day)
$$;

-- systems: whom each message is about, in the order of the bodies; NULL where that is no system.
CREATE TABLE event_batches (
    received_at  timestamptz NOT NULL,
    queue        text        NOT NULL,
    systems      integer[]   NOT NULL,
    bodies       bytea[]     NOT NULL
) PARTITION BY RANGE (received_at);

CREATE INDEX event_batches_received ON event_batches (received_at);

-- A body as text. Where nobody reads, in fields that labmon does not know, there may be bytes that are no UTF-8.
CREATE FUNCTION labmon_body_text(body bytea) RETURNS text IMMUTABLE STRICT LANGUAGE plpgsql AS $$
BEGIN
    RETURN convert_from(body, 'UTF8');
EXCEPTION WHEN character_not_in_repertoire OR untranslatable_character THEN
    RETURN encode(body, 'escape');
END
$$;

CREATE VIEW events AS
SELECT received_at, queue, system_id, labmon_body_text(body) AS body
FROM event_batches, unnest(systems, bodies) AS one (system_id, body);

-- Five times quicker than pglz, where the server was built with it.
DO $$
BEGIN
    ALTER TABLE event_batches ALTER COLUMN bodies SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END
$$;
