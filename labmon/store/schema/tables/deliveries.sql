-- Which target is notified of what, and which has been. A row is made in the transaction that stores the alert, so
-- that none is forgotten, whatever dies when.

-- withdrawn: not needed any more, since a person has acknowledged the alert, or it is over; `error` says which.
-- held: it waited when a silence or a maintenance began, or when something larger came to mute it, which `error`
-- names. It waits on, for the end of that.
CREATE TABLE deliveries (
    delivery_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target       text        NOT NULL,
    alert        jsonb       NOT NULL,  -- the message as it came
    about        text        NOT NULL,  -- how people call what it is about, and where that is, at that time
    place        text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    state        text        NOT NULL DEFAULT 'waiting'
                 CHECK (state IN ('waiting', 'held', 'sent', 'superseded', 'withdrawn', 'failed')),
    settled_at   timestamptz,           -- when it left 'waiting'
    attempts     integer     NOT NULL DEFAULT 0,
    error        text                   -- of the last attempt
);

CREATE INDEX deliveries_waiting ON deliveries (target, created_at) WHERE state = 'waiting';
CREATE INDEX deliveries_created ON deliveries (created_at);
CREATE INDEX deliveries_sent ON deliveries ((alert ->> 'alert_id'), target) WHERE state = 'sent';
CREATE INDEX deliveries_held ON deliveries (delivery_id) WHERE state = 'held';
CREATE INDEX deliveries_untold ON deliveries (target, (alert ->> 'alert_id')) WHERE state IN ('withdrawn', 'held');

-- What has to be known of a target between two notifications.
CREATE TABLE notified (
    target      text PRIMARY KEY,
    sent_at     timestamptz,                  -- of the last notification that arrived
    failures    integer NOT NULL DEFAULT 0,   -- failed attempts since then
    not_before  timestamptz                   -- of the next attempt
);
