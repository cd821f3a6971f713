-- Who works, on which machine, and how it goes: a row for each worker, written anew every few seconds. One
-- that has not been written for a while is of a worker, or a machine, that is dead.

CREATE TABLE workers (
    host           text        NOT NULL,
    main_pid       integer     NOT NULL,
    number         integer     NOT NULL,
    queue          text        NOT NULL,
    pid            integer,
    state          text        NOT NULL,
    state_since    timestamptz NOT NULL,
    stored         bigint      NOT NULL,
    rejected       bigint      NOT NULL,
    per_second     real        NOT NULL,
    last_batch     integer,
    last_batch_at  timestamptz,
    rss_bytes      bigint,
    restarts       integer     NOT NULL,
    started_at     timestamptz NOT NULL DEFAULT now(),
    beat_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (host, main_pid, number, queue)
) WITH (fillfactor = 50);

-- Every batch of readings updates its machines' rows. With room beside them these stay on their page, and the
-- indexes need not hear of it (HOT): a third of what storing costs.
ALTER TABLE systems SET (fillfactor = 50);

-- Two workers may find at once that a day is missing. The second waits for the first, and may even then not
-- see the new table: what to_regclass() knows is refreshed by locks on tables only.
CREATE OR REPLACE FUNCTION labmon_metrics_day(day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text := 'metrics_' || to_char(day, 'YYYYMMDD');
    earliest timestamptz := day::timestamp AT TIME ZONE 'UTC';
    latest timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
    IF to_regclass(name) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('labmon_metrics_day'));
    EXECUTE format('CREATE TABLE %I (LIKE metrics INCLUDING ALL)', name);
    EXECUTE format('ALTER TABLE metrics ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, earliest, latest);
EXCEPTION WHEN duplicate_table THEN
    RETURN;
END
$$;
