-- How machines fared over time, and whose numbers the numbers of machines are.

-- The only row: a name of this database that no other has. Who keeps numbers of machines elsewhere keeps it
-- with them. It is restored with the data, as the numbers are.
CREATE TABLE labmon_identity (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    inventory uuid NOT NULL DEFAULT gen_random_uuid()
);

INSERT INTO labmon_identity DEFAULT VALUES;

-- A "status" is kept when it is another than before, at the time when it began; what was before it is the one
-- before it. The last one of a machine is that in `systems`.
ALTER TABLE system_history
    ADD COLUMN error text,
    DROP CONSTRAINT system_history_change_check,
    ADD CONSTRAINT system_history_change_check CHECK (change IN (
        'found', 'moved', 'lost', 'renamed', 'mac', 'department', 'shared', 'unshared', 'gone', 'back', 'status'
    ));

INSERT INTO system_history (system_id, at, change, new_value, error)
SELECT system_id, status_since, 'status', status, status_error FROM systems WHERE status_since IS NOT NULL;

-- Whoever changes a status. It may have begun before something else was seen, where two collectors do not find
-- the same: then it is so again, from when it was seen.
CREATE FUNCTION labmon_keep_status() RETURNS trigger LANGUAGE plpgsql AS $$
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

CREATE TRIGGER labmon_keep_status AFTER UPDATE ON systems
REFERENCING OLD TABLE AS before NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION labmon_keep_status();
