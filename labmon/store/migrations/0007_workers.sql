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
