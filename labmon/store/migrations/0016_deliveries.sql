-- Two labs may go down in one moment: the same type, the same system 0.
ALTER TABLE alerts DROP CONSTRAINT alerts_pkey;
CREATE UNIQUE INDEX alerts_once ON alerts (system_id, alert_type, raised_at, state, COALESCE(alert_id, 0));

-- Who is to be told of what, and who was. A row is made in the transaction that stores the alert, so that
-- nobody is forgotten, whatever dies when.
CREATE TABLE deliveries (
    delivery_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target       text        NOT NULL,
    alert        jsonb       NOT NULL,  -- the message as it came
    about        text        NOT NULL,  -- how people call what it is about, and where that is, at that time
    place        text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    state        text        NOT NULL DEFAULT 'waiting'
                 CHECK (state IN ('waiting', 'sent', 'superseded', 'failed')),
    settled_at   timestamptz,           -- when it left 'waiting'
    attempts     integer     NOT NULL DEFAULT 0,
    error        text                   -- of the last attempt
);

CREATE INDEX deliveries_waiting ON deliveries (target, created_at) WHERE state = 'waiting';
CREATE INDEX deliveries_created ON deliveries (created_at);

-- What is to be known of a target between two notifications.
CREATE TABLE notified (
    target      text PRIMARY KEY,
    sent_at     timestamptz,                  -- of the last notification that arrived
    failures    integer NOT NULL DEFAULT 0,   -- attempts in vain since then
    not_before  timestamptz                   -- of the next attempt
);
