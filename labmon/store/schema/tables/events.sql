-- Every accepted message as it came. A batch is a row: what its messages have in common, which is most, is
-- compressed away by TOAST, and one row costs the workers less than five hundred.

-- systems: which system each message is about, in the order of the bodies; NULL where that is no system.
CREATE TABLE event_batches (
    received_at  timestamptz NOT NULL,
    queue        text        NOT NULL,
    systems      integer[]   NOT NULL,
    bodies       bytea[]     NOT NULL
) PARTITION BY RANGE (received_at);

CREATE INDEX event_batches_received ON event_batches (received_at);

-- Five times quicker than pglz, where the server was built with it.
DO $$
BEGIN
    ALTER TABLE event_batches ALTER COLUMN bodies SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END
$$;
