-- What the database itself knows and does about machines.

-- A MAC address made by software: a phone's privacy address, a virtual machine, a bridge. QEMU's 52:54:00 is
-- made by software too, but once for the life of the machine.
CREATE OR REPLACE FUNCTION labmon_mac_is_random(mac macaddr) RETURNS boolean IMMUTABLE STRICT LANGUAGE sql AS $$
    SELECT mac & '02:00:00:00:00:00' <> '00:00:00:00:00:00' AND trunc(mac) <> '52:54:00:00:00:00'
$$;

-- A MAC address of a redundancy protocol (VRRP and CARP, HSRP, GLBP), which routers take over from each other, and which
-- is the same for the same group number in another network. The scan leaves them out; other publishers may not.
CREATE OR REPLACE FUNCTION labmon_mac_is_virtual(mac macaddr) RETURNS boolean IMMUTABLE STRICT LANGUAGE sql AS $$
    SELECT mac::text ~ '^(00:00:5e:00:0[12]|00:00:0c:07:ac|00:00:0c:9f:f.|00:05:73:a0:0.|00:07:b4:00):'
$$;

-- Trigger: keep each change of a status in the history. A status may have begun before something else was seen, where
-- two collectors do not find the same: then it counts from when it was seen.
CREATE OR REPLACE FUNCTION labmon_keep_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO system_history (system_id, at, change, new_value, error)
    SELECT system_id,
           CASE WHEN changed.status_since <= before.status_at THEN changed.status_at
                ELSE LEAST(changed.status_since, now()) END,
           'status', changed.status, changed.status_error
    FROM changed JOIN before USING (system_id) WHERE changed.status <> before.status;
    RETURN NULL;
END
$$;

-- These numbers, and all that were merged into them: what the readings, sums and messages of a system may bear.
CREATE OR REPLACE FUNCTION labmon_parts(numbers integer[]) RETURNS integer[] STABLE STRICT LANGUAGE sql AS $$
    WITH RECURSIVE part AS (
        SELECT unnest(numbers) AS system_id
        UNION
        SELECT merged_id FROM system_merges JOIN part USING (system_id)
    )
    SELECT array_agg(system_id) FROM part
$$;

-- Which system a number belongs to now that was merged into another; NULL for one that was not.
CREATE OR REPLACE FUNCTION labmon_whole(number integer) RETURNS integer STABLE STRICT LANGUAGE sql AS $$
    WITH RECURSIVE whole AS (
        SELECT system_id, 1 AS depth FROM system_merges WHERE merged_id = number
        UNION ALL
        SELECT system_merges.system_id, depth + 1 FROM system_merges JOIN whole ON merged_id = whole.system_id
    )
    SELECT system_id FROM whole ORDER BY depth DESC LIMIT 1
$$;

-- Trigger: whoever leaves a lab, whichever way, leaves the seat too.
CREATE OR REPLACE FUNCTION labmon_leave_seat() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.seat_column := NULL;
    NEW.seat_row := NULL;
    RETURN NEW;
END
$$;

-- When a machine's newest reading was taken, but not later than it came: where the clock of a collector or a machine is
-- ahead, nobody lives longer. NULL for one that was never measured.
CREATE OR REPLACE FUNCTION labmon_measured(system systems) RETURNS timestamptz IMMUTABLE PARALLEL SAFE LANGUAGE sql AS $$
    SELECT CASE WHEN system.last_collected IS NOT NULL THEN LEAST(system.last_collected, system.measured_at) END
$$;
