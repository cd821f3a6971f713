-- What machines say of themselves, and their local file systems.

-- facts: the newest of each, as `messages.Facts` has them; a fact that was not told any more stays as it was.
-- asked_at: when, by whoever asked. What is older changes nothing.
CREATE TABLE facts (
    system_id  integer PRIMARY KEY REFERENCES systems ON DELETE CASCADE,
    asked_at   timestamptz NOT NULL,
    facts      jsonb NOT NULL
);

-- What changed, but for what changes all the time (see store/inventory/facts.py). Not what was told first.
CREATE TABLE facts_history (
    history_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    system_id   integer NOT NULL REFERENCES systems ON DELETE CASCADE,
    at          timestamptz NOT NULL,
    fact        text NOT NULL,
    old_value   jsonb,
    new_value   jsonb
);

CREATE INDEX facts_history_system ON facts_history (system_id, at);
CREATE INDEX facts_history_at ON facts_history (at);

-- The use of each as it was last sent: it is within a point of that since, for as long as the system is measured.
CREATE TABLE filesystems (
    system_id       integer NOT NULL REFERENCES systems ON DELETE CASCADE,
    mount           text NOT NULL,
    asked_at        timestamptz NOT NULL,
    total_bytes     bigint NOT NULL,
    used_bytes      bigint NOT NULL,
    used_percent    real NOT NULL,
    inodes_percent  real,
    PRIMARY KEY (system_id, mount)
);

-- The same over the last days, for their growth.
CREATE TABLE filesystem_history (
    system_id       integer NOT NULL REFERENCES systems ON DELETE CASCADE,
    mount           text NOT NULL,
    at              timestamptz NOT NULL,
    used_percent    real NOT NULL,
    inodes_percent  real,
    PRIMARY KEY (system_id, mount, at)
);
