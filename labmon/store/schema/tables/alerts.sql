-- What the rules found, and what is to be published. What works on it: functions/alert_*.sql.

-- Alerts as the queue brought them, labmon's own or another program's. state and alert_id say which of them are
-- labmon's own, and which are the end of one that is over.
CREATE TABLE alerts (
    system_id    integer          NOT NULL,
    alert_type   text             NOT NULL,
    raised_at    timestamptz      NOT NULL,
    severity     text             NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    value        double precision NOT NULL,
    threshold    double precision NOT NULL,
    received_at  timestamptz      NOT NULL DEFAULT now(),
    state        text             NOT NULL DEFAULT 'firing' CHECK (state IN ('firing', 'resolved')),
    alert_id     bigint
);

CREATE INDEX alerts_raised ON alerts (raised_at);
-- With alert_id: two labs may go down in one moment, the same type and the same system 0.
CREATE UNIQUE INDEX alerts_once ON alerts (system_id, alert_type, raised_at, state, COALESCE(alert_id, 0));

-- One time that a rule's condition held for one system (or, with system 0, for a `subject`: a lab, a network,
-- a queue), from pending to resolved; resolved ones are the history. Kind `other`: an alert that came by the
-- queue from elsewhere, without a rule here.
-- told: the state that was last put into the outbox.
CREATE TABLE alert_incidents (
    alert_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule_id          integer,                   -- no foreign key: see labmon_alerts_on_removed_rules
    alert_type       text NOT NULL,
    kind             text NOT NULL,
    system_id        integer NOT NULL,
    subject          text NOT NULL DEFAULT '',
    dept_id          integer,
    lab_id           integer,
    severity         text NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    value            real NOT NULL,             -- while pending the last, then the one that fired
    clear_value      real,                      -- the one that resolved
    threshold        real NOT NULL,
    since            timestamptz NOT NULL,      -- the first reading over the threshold
    last_at          timestamptz NOT NULL,      -- the reading that last changed anything
    fired_at         timestamptz,
    clearing_since   timestamptz,
    resolved_at      timestamptz,
    state            text GENERATED ALWAYS AS (CASE WHEN resolved_at IS NOT NULL THEN 'resolved'
                                                    WHEN fired_at IS NOT NULL THEN 'firing'
                                                    ELSE 'pending' END) STORED,
    reason           text,                      -- why resolved, where it was not a reading
    acknowledged_at  timestamptz,
    acknowledged_by  text,
    comment          text,
    told             text CHECK (told IN ('firing', 'resolved')),
    repeats          integer NOT NULL DEFAULT 0,
    repeat_at        timestamptz,
    muted            text                       -- why it was not notified, when that was last evaluated
);

CREATE UNIQUE INDEX alert_incidents_open ON alert_incidents (system_id, rule_id, subject)
    WHERE resolved_at IS NULL AND rule_id IS NOT NULL;
CREATE UNIQUE INDEX alert_incidents_open_other ON alert_incidents (system_id, alert_type)
    WHERE resolved_at IS NULL AND kind = 'other';
CREATE INDEX alert_incidents_fired ON alert_incidents (fired_at);
-- Of what is to be notified only those that ended: the others are open.
CREATE INDEX alert_incidents_untold ON alert_incidents (alert_id) WHERE resolved_at IS NOT NULL AND told = 'firing';
-- The few that mute others: looked for at every notification, and not among all that ever were.
CREATE INDEX alert_incidents_larger ON alert_incidents (kind)
    WHERE resolved_at IS NULL AND kind IN ('lab_down', 'network_down', 'collector_down');

-- What happened to an incident: fired, told, repeated, acknowledged, resolved. No incident that fired is ever
-- removed, so neither this nor the outbox needs a foreign key.
CREATE TABLE alert_log (
    log_id    bigint GENERATED ALWAYS AS IDENTITY,
    alert_id  bigint NOT NULL,
    at        timestamptz NOT NULL,
    event     text NOT NULL CHECK (event IN ('fired', 'told', 'repeated', 'acknowledged', 'resolved')),
    said_by   text,
    comment   text,
    PRIMARY KEY (alert_id, log_id)
);

-- Which systems fell silent, and since when each should have been measured: its last reading, or the end of a
-- maintenance after that. steady: for how long it had been on without a break. Kept up by the tick.
CREATE TABLE alert_silent (
    system_id  integer PRIMARY KEY REFERENCES systems ON DELETE CASCADE,
    since      timestamptz NOT NULL,
    steady     interval NOT NULL DEFAULT '0'
);

-- The systems under an alert about many: each is not notified by itself. They stay until it is over.
CREATE TABLE alert_covers (
    alert_id   bigint NOT NULL REFERENCES alert_incidents ON DELETE CASCADE,
    system_id  integer NOT NULL REFERENCES systems ON DELETE CASCADE,
    since      timestamptz NOT NULL,
    PRIMARY KEY (alert_id, system_id)
);

CREATE INDEX alert_covers_system ON alert_covers (system_id);

-- What `changed` and `gone` compare with: the value that was there first, or at the last acknowledgement.
CREATE TABLE alert_baselines (
    rule_id    integer NOT NULL REFERENCES alert_rules ON DELETE CASCADE,
    system_id  integer NOT NULL REFERENCES systems ON DELETE CASCADE,
    value      real NOT NULL,
    missing    integer NOT NULL DEFAULT 0,      -- successive readings without the metric, the last at seen_at
    seen_at    timestamptz NOT NULL,
    PRIMARY KEY (rule_id, system_id)
);

-- What is to be published, in this order, each at least once. Written in the transaction that changes the
-- incident, with one NOTIFY labmon_alerts (no payload) as a wake-up; a listener must also look from time to
-- time, since a notification without a listener is lost.
-- `body` is the message as it goes out, a `messages.Alert`; its routing key is 'alerts.' || severity.
-- The relay, once the broker has confirmed:  UPDATE alert_outbox SET published_at = now() WHERE outbox_id = ...
-- Published rows are removed after a week by the tick.
CREATE TABLE alert_outbox (
    outbox_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id      bigint NOT NULL,
    severity      text NOT NULL,
    body          jsonb NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    published_at  timestamptz
);

CREATE INDEX alert_outbox_waiting ON alert_outbox (outbox_id) WHERE published_at IS NULL;
CREATE INDEX alert_outbox_published ON alert_outbox (published_at) WHERE published_at IS NOT NULL;

-- What went wrong while rules were evaluated: never the insert's fault. One row per text.
CREATE TABLE alert_errors (
    place     text NOT NULL,
    said      text NOT NULL,
    times     bigint NOT NULL DEFAULT 1,
    first_at  timestamptz NOT NULL DEFAULT now(),
    last_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (place, said)
);

-- One incident while it is worked out; what a rule saw of a system (or, with system 0, of a subject) at a moment;
-- and what that makes of its incidents.
CREATE TYPE labmon_episode AS (
    since timestamptz, last_at timestamptz, fired_at timestamptz, clearing_since timestamptz,
    resolved_at timestamptz, value real, clear_value real
);

CREATE TYPE labmon_sighting AS (
    rule_id integer, system_id integer, subject text, at timestamptz, value real, threshold real,
    breach boolean, clear boolean
);

CREATE TYPE labmon_change AS (
    alert_id bigint, was_firing boolean, rule_id integer, system_id integer, subject text, threshold real,
    episodes labmon_episode[]
);
