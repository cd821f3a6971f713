-- Which machines are in maintenance, and when.

-- By how much the clocks of a zone are ahead of UTC, from when until when. Looks once a day, and then for the second
-- at which they change.
CREATE OR REPLACE FUNCTION labmon_zone_offsets(zone text, earliest timestamptz, latest timestamptz)
RETURNS TABLE (valid_from timestamptz, valid_until timestamptz, ahead interval)
STABLE STRICT LANGUAGE plpgsql ROWS 2 AS $$
DECLARE
    at timestamptz := earliest;
    same timestamptz;
    other timestamptz;
    middle timestamptz;
    later interval;
BEGIN
    valid_from := earliest;
    ahead := (at AT TIME ZONE zone) - (at AT TIME ZONE 'UTC');
    WHILE at < latest LOOP
        other := at + interval '24 hours';
        later := (other AT TIME ZONE zone) - (other AT TIME ZONE 'UTC');
        IF later <> ahead THEN
            same := at;
            WHILE other - same > interval '1 s' LOOP
                middle := date_trunc('second', same + (other - same) / 2);
                EXIT WHEN middle <= same;
                IF (middle AT TIME ZONE zone) - (middle AT TIME ZONE 'UTC') = ahead THEN
                    same := middle;
                ELSE
                    other := middle;
                END IF;
            END LOOP;
            other := date_trunc('second', other);
            valid_until := other;
            RETURN NEXT;
            valid_from := other;
            ahead := (other AT TIME ZONE zone) - (other AT TIME ZONE 'UTC');
        END IF;
        at := other;
    END LOOP;
    valid_until := 'infinity';
    RETURN NEXT;
END
$$;

-- Every stretch of every maintenance that touches earliest..latest, as moments. Weekly hours are on while the clock on
-- the wall is within them: a time that the wall skips is never on, one that comes twice is on both times.
CREATE OR REPLACE FUNCTION labmon_maintenance_ranges(earliest timestamptz, latest timestamptz)
RETURNS TABLE (maintenance_id integer, starts_at timestamptz, ends_at timestamptz) STABLE LANGUAGE sql AS $$
    SELECT maintenance_id, starts_at, ends_at FROM maintenance
    WHERE weekly IS NULL AND starts_at <= latest AND ends_at > earliest
    UNION ALL
    SELECT maintenance_id, lower(stretch), upper(stretch)
    FROM (
        SELECT maintenance_id, range_agg(tstzrange(begun, ended)) AS stretches
        FROM (
            SELECT timezone, valid_from, valid_until, ahead
            FROM (SELECT DISTINCT timezone FROM maintenance WHERE weekly IS NOT NULL) AS zones,
                LATERAL labmon_zone_offsets(timezone, earliest - interval '10 days', latest + interval '9 days')
        ) AS clock JOIN maintenance USING (timezone) JOIN maintenance_hours USING (maintenance_id),
            LATERAL (SELECT (earliest AT TIME ZONE timezone)::date - 8 AS first_day,
                            (latest AT TIME ZONE timezone)::date + 1 AS last_day) AS span,
            LATERAL generate_series(0, last_day - first_day) AS number,
            LATERAL (SELECT first_day + number AS day) AS calendar,
            LATERAL (SELECT
                GREATEST((day + starts - ahead) AT TIME ZONE 'UTC', valid_from, starts_at) AS begun,
                LEAST((day + days + ends - ahead) AT TIME ZONE 'UTC', valid_until, ends_at) AS ended) AS piece
        WHERE EXTRACT(isodow FROM day) = weekday AND begun < ended
        GROUP BY maintenance_id, day, starts, days, ends
    ) AS whole, LATERAL unnest(stretches) AS stretch
    WHERE lower(stretch) <= latest AND upper(stretch) > earliest
$$;

-- The systems of each such stretch, silences left out. A system set to `maintenance` by hand is in one that
-- records and has no end.
CREATE OR REPLACE FUNCTION labmon_under_maintenance(earliest timestamptz, latest timestamptz)
RETURNS TABLE (system_id integer, maintenance_id integer, mode text, weekly text,
               starts_at timestamptz, ends_at timestamptz) STABLE LANGUAGE sql AS $$
    SELECT scope.system_id, maintenance_id, mode, weekly, ranges.starts_at, ranges.ends_at
    FROM labmon_maintenance_ranges(earliest, latest) AS ranges JOIN maintenance USING (maintenance_id)
    -- One at a time: with OR each maintenance would be compared with each system.
    JOIN (
        SELECT maintenance_id, systems.system_id FROM maintenance JOIN systems USING (system_id)
        UNION ALL
        SELECT maintenance_id, systems.system_id FROM maintenance JOIN systems USING (lab_id)
        UNION ALL
        SELECT maintenance_id, systems.system_id FROM maintenance JOIN systems USING (dept_id)
        UNION ALL
        SELECT maintenance_id, systems.system_id FROM maintenance, systems
        WHERE num_nonnulls(maintenance.system_id, maintenance.lab_id, maintenance.dept_id) = 0
    ) AS scope USING (maintenance_id)
    WHERE mode <> 'silence'
    UNION ALL
    SELECT system_id, NULL, 'record', NULL, '-infinity', 'infinity' FROM systems WHERE status = 'maintenance'
$$;
