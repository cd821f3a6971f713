-- When machines are left alone: maintenance, the hours that a lab is closed, and silences.

-- skip: not collected either. record: collected, and not judged by any rule. mute: judged, and notified at the end
-- if it still stands. silence: the same for the alerts of one rule or of all, and about alerts, not about machines:
-- the others also keep `no_data` from looking.
-- Without a scope it is everything. A weekly one is open-ended unless starts_at or ends_at say otherwise.
CREATE TABLE maintenance (
    maintenance_id  integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mode            text NOT NULL CHECK (mode IN ('skip', 'record', 'mute', 'silence')),
    dept_id         integer REFERENCES departments ON DELETE CASCADE,
    lab_id          integer REFERENCES labs ON DELETE CASCADE,
    system_id       integer REFERENCES systems ON DELETE CASCADE,
    rule            text,
    starts_at       timestamptz,
    ends_at         timestamptz,
    weekly          text,          -- as it was written; the hours below are what counts
    timezone        text,
    said_by         text,
    comment         text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    CHECK (num_nonnulls(dept_id, lab_id, system_id) <= 1),
    CHECK (starts_at < ends_at),
    CHECK (rule IS NULL OR mode = 'silence'),
    CHECK ((weekly IS NULL) = (timezone IS NULL)),
    CHECK (weekly IS NOT NULL OR num_nulls(starts_at, ends_at) = 0)
);

-- By the clock on the wall in the maintenance's time zone: from `starts` of that weekday (1: Monday) to `ends`
-- `days` days later.
CREATE TABLE maintenance_hours (
    maintenance_id  integer NOT NULL REFERENCES maintenance ON DELETE CASCADE,
    weekday         smallint NOT NULL CHECK (weekday BETWEEN 1 AND 7),
    starts          time NOT NULL,
    days            smallint NOT NULL CHECK (days BETWEEN 0 AND 7),
    ends            time NOT NULL,
    CHECK (days > 0 OR starts < ends)
);

CREATE INDEX maintenance_hours_maintenance ON maintenance_hours (maintenance_id);
