-- How full the queues were: one row per queue and 30 s, by whichever process measured first. `at` is the start of these
-- 30 s; out_per_second is what the workers that were alive then said of themselves. Kept for 30 days.
CREATE TABLE queue_history (
    queue           text        NOT NULL,
    at              timestamptz NOT NULL,
    ready           bigint      NOT NULL,
    ready_high      bigint,
    in_flight       bigint,
    dead            bigint      NOT NULL,
    consumers       integer,
    oldest_age_seconds  real,
    out_per_second  real        NOT NULL,
    PRIMARY KEY (queue, at)
);

CREATE INDEX queue_history_at ON queue_history (at);

-- Where a system stands in its lab, counted from 1: columns from the left, rows from the front.
ALTER TABLE systems
    ADD COLUMN seat_column smallint CHECK (seat_column >= 1),
    ADD COLUMN seat_row smallint CHECK (seat_row >= 1),
    ADD CONSTRAINT systems_seat CHECK ((seat_column IS NULL) = (seat_row IS NULL));

CREATE UNIQUE INDEX systems_seat_once ON systems (lab_id, seat_column, seat_row) WHERE seat_column IS NOT NULL;

-- An acknowledgement can be taken back.
ALTER TABLE alert_log DROP CONSTRAINT alert_log_event_check;
ALTER TABLE alert_log ADD CONSTRAINT alert_log_event_check
    CHECK (event IN ('fired', 'told', 'repeated', 'acknowledged', 'unacknowledged', 'resolved'));

-- What is on now is asked for every few seconds, and must not be looked for among all that ever was.
CREATE INDEX alert_incidents_standing ON alert_incidents (fired_at) WHERE resolved_at IS NULL;
