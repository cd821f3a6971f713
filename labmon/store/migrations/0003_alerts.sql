-- Alerts as they came from the queue, ours or another program's.

CREATE TABLE alerts (
    system_id    integer          NOT NULL,
    alert_type   text             NOT NULL,
    raised_at    timestamptz      NOT NULL,
    severity     text             NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    value        double precision NOT NULL,
    threshold    double precision NOT NULL,
    received_at  timestamptz      NOT NULL DEFAULT now(),
    PRIMARY KEY (system_id, alert_type, raised_at)
);

CREATE INDEX alerts_raised ON alerts (raised_at);
