-- When machines are left alone: maintenance, the hours that a lab is closed, and silences.

-- skip: not collected either. record: collected, and not judged by any rule. mute: judged, and told at the end
-- if it still stands. silence: the same for the alerts of one rule or of all, and said of alerts, not of
-- machines: the others also keep `no_data` from looking.
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
    weekly          text,          -- as it was said; the hours below are what counts
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
-- so many days later.
CREATE TABLE maintenance_hours (
    maintenance_id  integer NOT NULL REFERENCES maintenance ON DELETE CASCADE,
    weekday         smallint NOT NULL CHECK (weekday BETWEEN 1 AND 7),
    starts          time NOT NULL,
    days            smallint NOT NULL CHECK (days BETWEEN 0 AND 7),
    ends            time NOT NULL,
    CHECK (days > 0 OR starts < ends)
);

CREATE INDEX maintenance_hours_maintenance ON maintenance_hours (maintenance_id);

-- Every stretch of every maintenance that touches earliest..latest, as moments. AT TIME ZONE makes moments of
-- wall clock times, so a stretch over a change of the clocks is an hour shorter or longer, as on the wall; of
-- an hour that comes twice it takes the second.
CREATE FUNCTION labmon_maintenance_ranges(earliest timestamptz, latest timestamptz)
RETURNS TABLE (maintenance_id integer, starts_at timestamptz, ends_at timestamptz) STABLE LANGUAGE sql AS $$
    SELECT maintenance_id, starts_at, ends_at FROM maintenance
    WHERE weekly IS NULL AND starts_at <= latest AND ends_at > earliest
    UNION ALL
    SELECT maintenance_id, begun, ended
    FROM maintenance JOIN maintenance_hours USING (maintenance_id),
        LATERAL (SELECT (earliest AT TIME ZONE timezone)::date - 8 AS first_day,
                        (latest AT TIME ZONE timezone)::date + 1 AS last_day) AS span,
        LATERAL generate_series(0, last_day - first_day) AS number,
        LATERAL (SELECT first_day + number AS day) AS calendar,
        LATERAL (SELECT GREATEST((day + starts) AT TIME ZONE timezone, starts_at) AS begun,
                        LEAST((day + days + ends) AT TIME ZONE timezone, ends_at) AS ended) AS stretch
    WHERE EXTRACT(isodow FROM day) = weekday AND begun < ended AND begun <= latest AND ended > earliest
$$;

-- The systems of each such stretch, silences left out. A system set to `maintenance` by hand is in one that
-- records and has no end.
CREATE FUNCTION labmon_under_maintenance(earliest timestamptz, latest timestamptz)
RETURNS TABLE (system_id integer, maintenance_id integer, mode text, weekly text,
               starts_at timestamptz, ends_at timestamptz) STABLE LANGUAGE sql AS $$
    SELECT systems.system_id, maintenance_id, mode, weekly, ranges.starts_at, ranges.ends_at
    FROM labmon_maintenance_ranges(earliest, latest) AS ranges JOIN maintenance USING (maintenance_id)
    JOIN systems ON maintenance.system_id = systems.system_id OR maintenance.lab_id = systems.lab_id
        OR maintenance.dept_id = systems.dept_id
        OR num_nonnulls(maintenance.system_id, maintenance.lab_id, maintenance.dept_id) = 0
    WHERE mode <> 'silence'
    UNION ALL
    SELECT system_id, NULL, 'record', NULL, '-infinity', 'infinity' FROM systems WHERE status = 'maintenance'
$$;
