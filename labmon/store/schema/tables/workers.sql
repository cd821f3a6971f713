-- What the processes of labmon say of themselves.

-- Which workers there are, on which machine, and how they fare: a row for each, written anew every few seconds. One
-- that was not written for a while belongs to a worker, or a machine, that is dead.
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

-- How full the spools are, as reported by each machine that reaches the database: for the rule spool_full.
CREATE TABLE spools (
    host     text NOT NULL,
    file     text NOT NULL,
    percent  real NOT NULL,           -- of its limit
    told_at  timestamptz NOT NULL,
    PRIMARY KEY (host, file)
);
