-- The life of a system: what is retired, ignored or still in quarantine is neither measured nor counted; what people
-- changed, so that it can be undone; and what was merged, so that it can be taken apart again.
ALTER TABLE systems DROP CONSTRAINT systems_status_check;
ALTER TABLE systems ADD CONSTRAINT systems_status_check CHECK (status IN (
    'discovered', 'active', 'offline', 'unreachable', 'refused', 'auth failed', 'timed out', 'failed', 'maintenance',
    'retired', 'ignored', 'quarantined'));

-- is_watched: whatever measures, counts, judges or shows systems asks this.
-- ssh_user, ssh_key: the account there, and the file of the private key here, where they are not the usual ones.
ALTER TABLE systems
    ADD COLUMN ssh_user text,
    ADD COLUMN ssh_key text,
    ADD COLUMN is_watched boolean NOT NULL GENERATED ALWAYS AS (status NOT IN ('retired', 'ignored', 'quarantined')) STORED;

-- The seat of a retired machine is free for the one that replaces it.
DROP INDEX systems_seat_once;
CREATE UNIQUE INDEX systems_seat_once ON systems (lab_id, seat_column, seat_row)
    WHERE seat_column IS NOT NULL AND is_watched;

-- What a scan finds in this department is measured at once, or waits until somebody lets it in.
ALTER TABLE departments ADD COLUMN new_as text NOT NULL DEFAULT 'active' CHECK (new_as IN ('active', 'quarantine'));

ALTER TABLE system_history DROP CONSTRAINT system_history_change_check;
ALTER TABLE system_history ADD CONSTRAINT system_history_change_check CHECK (change IN (
    'found', 'moved', 'lost', 'renamed', 'mac', 'department', 'shared', 'unshared', 'gone', 'back', 'status',
    'answered', 'set', 'merged', 'split', 'undone'));

-- One step that a person took with a system: the columns that it changed, before and after. The newest that is not
-- undone is what `undo` takes back. No foreign key: what was merged keeps its steps for when it is split off again.
CREATE TABLE system_changes (
    change_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    system_id  integer NOT NULL,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    said_by    text NOT NULL,
    action     text NOT NULL,
    before     jsonb NOT NULL,
    after      jsonb NOT NULL,
    merged_id  integer,                -- of a merge and of a split: the other system
    undone_at  timestamptz
);

CREATE INDEX system_changes_system ON system_changes (system_id, change_id);

-- A system that is part of another one now. Its own readings and sums stay as they are under its number, where nothing
-- shows them, and go with their time; the other one has copies. `memory`: its row, and what else was moved.
CREATE TABLE system_merges (
    merge_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    system_id  integer NOT NULL,
    merged_id  integer NOT NULL UNIQUE,
    at         timestamptz NOT NULL DEFAULT now(),
    memory     jsonb NOT NULL
);

CREATE INDEX system_merges_system ON system_merges (system_id);

-- Where both had something of their own: readings of one time, sums of one bucket.
CREATE TABLE system_merge_common (
    merge_id  bigint NOT NULL REFERENCES system_merges ON DELETE CASCADE,
    level     text NOT NULL CHECK (level IN ('reading', '5m', '1h', '1d')),
    at        timestamptz NOT NULL,
    PRIMARY KEY (merge_id, level, at)
);
