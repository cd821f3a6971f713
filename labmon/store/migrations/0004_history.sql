-- What happened to a machine, what a scan changed, and which MAC addresses say little.

-- Made by software: a phone that hides, a virtual machine, a bridge. QEMU's 52:54:00 is made up as well, but
-- once for the life of the machine.
CREATE FUNCTION labmon_mac_is_random(mac macaddr) RETURNS boolean IMMUTABLE STRICT LANGUAGE sql AS $$
    SELECT mac & '02:00:00:00:00:00' <> '00:00:00:00:00:00' AND trunc(mac) <> '52:54:00:00:00:00'
$$;

-- seen_*: the newest scan that saw it, and when; last_seen knows of measurements too.
-- mac_flag: "shared" when one scan saw the MAC address at several addresses, "random" when software made it.
-- gone_since: the start of a completed scan of its address that did not find it. It is back when it was
-- seen since, so `gone_since > last_seen` is what says gone.
ALTER TABLE systems
    ADD COLUMN seen_scan   bigint,
    ADD COLUMN seen_at     timestamptz,
    ADD COLUMN mac_flag    text CHECK (mac_flag IN ('shared', 'random')),
    ADD COLUMN gone_since  timestamptz;

UPDATE systems SET mac_flag = 'random' WHERE labmon_mac_is_random(mac_address);

CREATE TABLE system_history (
    history_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    system_id   integer NOT NULL REFERENCES systems ON DELETE CASCADE,
    at          timestamptz NOT NULL,
    scan_id     bigint,
    change      text NOT NULL
                CHECK (change IN ('found', 'moved', 'lost', 'renamed', 'mac', 'department', 'shared', 'gone', 'back')),
    old_value   text,
    new_value   text
);

CREATE INDEX system_history_system ON system_history (system_id, at);
CREATE INDEX system_history_scan ON system_history (scan_id, change);
CREATE INDEX system_history_at ON system_history (at);

-- addresses: target_range as IPv4 numbers; NULL where it could not be read, and then nobody is gone.
ALTER TABLE scans
    ADD COLUMN addresses      int8multirange,
    ADD COLUMN errors         bigint NOT NULL DEFAULT 0,
    ADD COLUMN systems_new    bigint NOT NULL DEFAULT 0,
    ADD COLUMN systems_moved  bigint NOT NULL DEFAULT 0,
    ADD COLUMN systems_gone   bigint NOT NULL DEFAULT 0;

CREATE FUNCTION labmon_address_number(address inet) RETURNS bigint IMMUTABLE STRICT LANGUAGE sql AS $$
    SELECT CASE WHEN family(address) = 4 THEN address - '0.0.0.0'::inet END
$$;
