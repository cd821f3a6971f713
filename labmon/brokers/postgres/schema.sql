-- The queue of labmon in a PostgreSQL database (14 or later). Applied by `PostgresBroker.declare`, in one
-- transaction and by one process at a time; every statement may be repeated. Nothing here depends on labmon's
-- other tables. A change of this file raises the number in labmon_queue_version, and keeps old callers working.
--
-- For other programs:
--   SELECT labmon_publish('metrics_queue', '{"system_id": 42, ...}');
--   SELECT * FROM labmon_queue_depth('metrics_queue');

CREATE OR REPLACE FUNCTION labmon_queue_version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 2';

-- The queues that were declared. The number names a queue to NOTIFY and to the locks that count consumers.
CREATE TABLE IF NOT EXISTS labmon_queue_name (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue  text NOT NULL UNIQUE
);

-- The messages: published, not settled. A claim updates the row, so
--   * none of the columns it sets is in the index, and half of each page is left free: then the new version
--     fits beside the old one (HOT), the index is not touched, and the page is tidied by the next visitor;
--   * they are never null, so that the new version is as long as the old one.
CREATE TABLE IF NOT EXISTS labmon_queue (
    id           bigint GENERATED ALWAYS AS IDENTITY,
    queue        text NOT NULL,
    high         boolean NOT NULL DEFAULT false,
    attempts     integer NOT NULL DEFAULT 0,
    lease        bigint NOT NULL DEFAULT 0,
    leased_until timestamptz NOT NULL DEFAULT '-infinity',
    enqueued_at  timestamptz NOT NULL DEFAULT now(),
    message_id   text NOT NULL,
    routing_key  text NOT NULL DEFAULT '',
    body         bytea NOT NULL,
    PRIMARY KEY (queue, high, id)
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_threshold = 1000, autovacuum_analyze_scale_factor = 0.1,
    toast.autovacuum_vacuum_threshold = 1000, toast.autovacuum_vacuum_scale_factor = 0.01
);

CREATE TABLE IF NOT EXISTS labmon_queue_dead (
    id          bigint GENERATED ALWAYS AS IDENTITY,
    queue       text NOT NULL,
    high        boolean NOT NULL,
    attempts    integer NOT NULL,
    enqueued_at timestamptz NOT NULL,
    died_at     timestamptz NOT NULL DEFAULT now(),
    reason      text NOT NULL,
    error       text NOT NULL,
    message_id  text NOT NULL,
    routing_key text NOT NULL,
    body        bytea NOT NULL,
    PRIMARY KEY (queue, id)
);

-- What is in flight: a row for each lane of each batch that somebody holds. Small, so it can be added up at
-- any time, which the messages cannot.
CREATE TABLE IF NOT EXISTS labmon_queue_lease (
    lease        bigint NOT NULL,
    high         boolean NOT NULL,
    queue        text NOT NULL,
    leased_until timestamptz NOT NULL,
    held         bigint NOT NULL,
    PRIMARY KEY (lease, high)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

-- How many messages there are: the sum of `change`. Counting a million rows takes most of a second, and
-- one counter would make publishers and consumers wait for each other; so every statement that adds or
-- removes messages leaves a row here, no transaction waits, and now and then one adds the rows up.
CREATE TABLE IF NOT EXISTS labmon_queue_count (
    queue  text NOT NULL,
    lane   text NOT NULL, -- high, normal or dead
    change bigint NOT NULL
) WITH (autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

CREATE OR REPLACE FUNCTION labmon_queue_counted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    is_dead boolean := TG_TABLE_NAME = 'labmon_queue_dead';
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM labmon_queue_count WHERE (lane = 'dead') = is_dead;
        RETURN NULL;
    END IF;
    INSERT INTO labmon_queue_count (queue, lane, change)
    SELECT queue, CASE WHEN is_dead THEN 'dead' WHEN high THEN 'high' ELSE 'normal' END AS lane,
           CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END
    FROM changed GROUP BY 1, 2;
    IF random() < 0.01 THEN
        WITH old AS (
            DELETE FROM labmon_queue_count AS c
            USING (SELECT ctid FROM labmon_queue_count LIMIT 2000 FOR UPDATE SKIP LOCKED) AS picked
            WHERE c.ctid = picked.ctid
            RETURNING c.queue, c.lane, c.change
        )
        INSERT INTO labmon_queue_count (queue, lane, change)
        SELECT queue, lane, sum(change) FROM old GROUP BY 1, 2 HAVING sum(change) <> 0;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER labmon_queue_added AFTER INSERT ON labmon_queue
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION labmon_queue_counted();
CREATE OR REPLACE TRIGGER labmon_queue_removed AFTER DELETE ON labmon_queue
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION labmon_queue_counted();
CREATE OR REPLACE TRIGGER labmon_queue_emptied AFTER TRUNCATE ON labmon_queue
    FOR EACH STATEMENT EXECUTE FUNCTION labmon_queue_counted();
CREATE OR REPLACE TRIGGER labmon_queue_dead_added AFTER INSERT ON labmon_queue_dead
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION labmon_queue_counted();
CREATE OR REPLACE TRIGGER labmon_queue_dead_removed AFTER DELETE ON labmon_queue_dead
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION labmon_queue_counted();
CREATE OR REPLACE TRIGGER labmon_queue_dead_emptied AFTER TRUNCATE ON labmon_queue_dead
    FOR EACH STATEMENT EXECUTE FUNCTION labmon_queue_counted();

-- Publish one message from any program. The body is taken byte for byte as it was typed, in UTF-8. Returns the
-- message's id. A waiting worker finds it within a second (it is not notified, since every commit with a
-- NOTIFY waits for every other, and this one belongs to somebody else's transaction).
CREATE OR REPLACE FUNCTION labmon_publish(
    queue text, body text, routing_key text DEFAULT '', high boolean DEFAULT false
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    new_id text := replace(gen_random_uuid()::text, '-', '');
BEGIN
    IF NOT EXISTS (SELECT FROM labmon_queue_name AS n WHERE n.queue = labmon_publish.queue) THEN
        RAISE EXCEPTION 'there is no queue %', coalesce(labmon_publish.queue, 'null')
            USING ERRCODE = 'undefined_object', HINT = 'Make it with: labmon setup-queues';
    END IF;
    INSERT INTO labmon_queue (queue, high, message_id, routing_key, body)
    VALUES (labmon_publish.queue, labmon_publish.high, new_id, labmon_publish.routing_key,
            convert_to(labmon_publish.body, 'UTF8'));
    RETURN new_id;
END $$;

CREATE OR REPLACE FUNCTION labmon_publish(
    queue text, body json, routing_key text DEFAULT '', high boolean DEFAULT false
) RETURNS text LANGUAGE sql AS 'SELECT labmon_publish(queue, body::text, routing_key, high)';

CREATE OR REPLACE FUNCTION labmon_publish(
    queue text, body jsonb, routing_key text DEFAULT '', high boolean DEFAULT false
) RETURNS text LANGUAGE sql AS 'SELECT labmon_publish(queue, body::text, routing_key, high)';

-- The functions below are for labmon's adapter. A plan is made from statistics that may be of a time when the
-- queue was empty, and then kept: joins with a queue that has filled up since took seconds. So nothing is left
-- to the planner: rows are found one way, through the index, and changed one way, by their place (ctid), and
-- the functions switch all other ways off, for themselves and for what they call. (And JIT: until PostgreSQL 18 "off" means "very dear", and very
-- dear plans get compiled, for half a second.)

-- Lock and find up to `wanted` ready messages of one lane, the lowest ids above `after` and up to `upto`.
CREATE OR REPLACE FUNCTION labmon_queue_pick(
    from_queue text, from_high boolean, after bigint, upto bigint, wanted integer
) RETURNS tid[] LANGUAGE plpgsql
SET enable_indexscan = on SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
BEGIN
    RETURN ARRAY(
        SELECT ctid FROM labmon_queue
        WHERE queue = from_queue AND high = from_high AND id > after AND id <= upto AND leased_until <= now()
        ORDER BY id LIMIT wanted FOR UPDATE SKIP LOCKED);
END $$;

-- A time that every program can read, or null: others may have put in infinity, or the year 100000.
CREATE OR REPLACE FUNCTION labmon_queue_time(at timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN at >= '0001-01-02Z'::timestamptz AND at < '9999-12-31Z'::timestamptz THEN at END
$$;

-- Of these messages the first ones that together have no more bytes than `room`, but always the first.
CREATE OR REPLACE FUNCTION labmon_queue_fitting(picked tid[], room bigint) RETURNS tid[] LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_indexscan = off SET jit = off AS $$
DECLARE
    fitting tid[];
BEGIN
    IF (SELECT coalesce(sum(octet_length(body)), 0) FROM labmon_queue WHERE ctid = ANY (picked)) <= room THEN
        RETURN picked;
    END IF;
    SELECT array_agg(place ORDER BY id) INTO fitting
    FROM (SELECT ctid AS place, id, sum(octet_length(body)) OVER (ORDER BY id) - octet_length(body) AS before
          FROM labmon_queue WHERE ctid = ANY (picked)) AS q
    WHERE before < room;
    RETURN fitting;
END $$;

-- Find the messages `ids` of the lanes `highs` whose lease is still the one in `leases`, element by element.
CREATE OR REPLACE FUNCTION labmon_queue_find(
    from_queue text, highs boolean[], ids bigint[], leases bigint[]
) RETURNS tid[] LANGUAGE plpgsql
SET enable_indexscan = on SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
BEGIN
    RETURN ARRAY(
        SELECT found.ctid
        FROM unnest(highs, ids, leases) AS u (high, id, lease),
             LATERAL (SELECT q.ctid FROM labmon_queue AS q
                      WHERE q.queue = from_queue AND q.high = u.high AND q.id = u.id AND q.lease = u.lease
                      OFFSET 0) AS found); -- OFFSET 0: one look into the index for each, never a join
END $$;

-- The bookkeeping of what was settled: `leases` and `highs` have an element for each message.
CREATE OR REPLACE FUNCTION labmon_queue_unhold(leases bigint[], highs boolean[]) RETURNS void
LANGUAGE plpgsql SET enable_indexscan = on SET enable_seqscan = on AS $$
BEGIN
    UPDATE labmon_queue_lease AS l SET held = l.held - s.n
    FROM (SELECT lease, high, count(*) AS n FROM unnest(leases, highs) AS u (lease, high) GROUP BY 1, 2) AS s
    WHERE l.lease = s.lease AND l.high = s.high;
    DELETE FROM labmon_queue_lease AS l WHERE l.lease = ANY (leases) AND l.held <= 0;
END $$;

-- Claim up to `wanted` messages of one lane, the lowest ids above `after`, of about `room` bytes together.
CREATE OR REPLACE FUNCTION labmon_queue_claim_lane(
    from_queue text, from_high boolean, after bigint, wanted integer, new_lease bigint, seconds double precision,
    room bigint
) RETURNS TABLE (
    high boolean, id bigint, message_id text, routing_key text, body bytea,
    attempts integer, enqueued_at timestamptz, age double precision
) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_indexscan = off SET jit = off AS $$
DECLARE
    ends timestamptz := now() + seconds * interval '1 second';
    picked tid[] := labmon_queue_pick(from_queue, from_high, after, 9223372036854775807, wanted);
BEGIN
    IF picked = '{}' THEN
        RETURN;
    END IF;
    picked := labmon_queue_fitting(picked, room);
    INSERT INTO labmon_queue_lease AS l (lease, high, queue, leased_until, held)
    VALUES (new_lease, from_high, from_queue, ends, cardinality(picked))
    ON CONFLICT ON CONSTRAINT labmon_queue_lease_pkey DO UPDATE SET held = l.held + excluded.held;
    RETURN QUERY
        UPDATE labmon_queue AS q
        SET lease = new_lease, leased_until = ends, attempts = least(q.attempts, 2147483646) + 1
        WHERE q.ctid = ANY (picked)
        RETURNING q.high, q.id, q.message_id, q.routing_key, q.body, q.attempts, labmon_queue_time(q.enqueued_at),
                  extract(epoch FROM now() - labmon_queue_time(q.enqueued_at))::double precision;
END $$;

-- Claim up to `wanted` messages: the high lane first, but `kept` of them from the normal lane if it has them.
-- Of each lane about `room` bytes.
CREATE OR REPLACE FUNCTION labmon_queue_claim(
    from_queue text, wanted integer, kept integer, after_high bigint, after_normal bigint,
    new_lease bigint, seconds double precision, room bigint
) RETURNS TABLE (
    high boolean, id bigint, message_id text, routing_key text, body bytea,
    attempts integer, enqueued_at timestamptz, age double precision
) LANGUAGE plpgsql AS $$
DECLARE
    highs integer;
    normals integer;
BEGIN
    RETURN QUERY SELECT * FROM labmon_queue_claim_lane(
        from_queue, true, after_high, wanted - kept, new_lease, seconds, room);
    GET DIAGNOSTICS highs = ROW_COUNT;
    RETURN QUERY SELECT * FROM labmon_queue_claim_lane(
        from_queue, false, after_normal, wanted - highs, new_lease, seconds, room);
    GET DIAGNOSTICS normals = ROW_COUNT;
    IF highs = wanted - kept AND highs + normals < wanted THEN
        RETURN QUERY SELECT * FROM labmon_queue_claim_lane(
            from_queue, true, after_high, wanted - highs - normals, new_lease, seconds, room);
    END IF;
END $$;

-- Settle messages, named as in labmon_queue_find. Each returns the ids of those that were settled; the others
-- are somebody else's by now, or gone. The lease is looked at again in the act: it may have changed hands.

CREATE OR REPLACE FUNCTION labmon_queue_ack(
    from_queue text, highs boolean[], ids bigint[], leases bigint[]
) RETURNS bigint[] LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_indexscan = off SET jit = off AS $$
DECLARE
    mine tid[] := labmon_queue_find(from_queue, highs, ids, leases);
    settled bigint[];
    settled_leases bigint[];
    settled_highs boolean[];
BEGIN
    WITH gone AS (
        DELETE FROM labmon_queue AS q WHERE q.ctid = ANY (mine) AND q.lease = ANY (leases)
        RETURNING q.id, q.lease, q.high
    )
    SELECT array_agg(id), array_agg(lease), array_agg(high) INTO settled, settled_leases, settled_highs FROM gone;
    PERFORM labmon_queue_unhold(settled_leases, settled_highs);
    RETURN coalesce(settled, '{}');
END $$;

CREATE OR REPLACE FUNCTION labmon_queue_release(
    from_queue text, highs boolean[], ids bigint[], leases bigint[], failed boolean
) RETURNS bigint[] LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_indexscan = off SET jit = off AS $$
DECLARE
    mine tid[] := labmon_queue_find(from_queue, highs, ids, leases);
    settled bigint[];
    settled_leases bigint[];
    settled_highs boolean[];
BEGIN
    WITH back AS (
        UPDATE labmon_queue AS q
        SET lease = -q.lease, -- nobody's, yet returned below
            leased_until = '-infinity',
            attempts = q.attempts - CASE WHEN failed THEN 0 ELSE 1 END
        WHERE q.ctid = ANY (mine) AND q.lease = ANY (leases)
        RETURNING q.id, -q.lease AS lease, q.high
    )
    SELECT array_agg(id), array_agg(lease), array_agg(high) INTO settled, settled_leases, settled_highs FROM back;
    PERFORM labmon_queue_unhold(settled_leases, settled_highs);
    RETURN coalesce(settled, '{}');
END $$;

CREATE OR REPLACE FUNCTION labmon_queue_reject(
    from_queue text, highs boolean[], ids bigint[], leases bigint[], why text, details text
) RETURNS bigint[] LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_indexscan = off SET jit = off AS $$
DECLARE
    mine tid[] := labmon_queue_find(from_queue, highs, ids, leases);
    settled bigint[];
    settled_leases bigint[];
    settled_highs boolean[];
BEGIN
    WITH gone AS (
        DELETE FROM labmon_queue AS q WHERE q.ctid = ANY (mine) AND q.lease = ANY (leases)
        RETURNING q.*
    ), buried AS (
        INSERT INTO labmon_queue_dead
            (queue, high, attempts, enqueued_at, reason, error, message_id, routing_key, body)
        SELECT queue, high, attempts, enqueued_at, why, details, message_id, routing_key, body
        FROM gone ORDER BY id
    )
    SELECT array_agg(id), array_agg(lease), array_agg(high) INTO settled, settled_leases, settled_highs FROM gone;
    PERFORM labmon_queue_unhold(settled_leases, settled_highs);
    RETURN coalesce(settled, '{}');
END $$;

-- Drop up to `wanted` ready messages of one lane with ids above `after` and up to `upto`.
CREATE OR REPLACE FUNCTION labmon_queue_purge(
    from_queue text, from_high boolean, after bigint, upto bigint, wanted integer,
    OUT dropped bigint, OUT last bigint
) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_indexscan = off SET jit = off AS $$
DECLARE
    picked tid[] := labmon_queue_pick(from_queue, from_high, after, upto, wanted);
BEGIN
    WITH gone AS (DELETE FROM labmon_queue AS q WHERE q.ctid = ANY (picked) RETURNING q.id)
    SELECT count(*), max(id) INTO dropped, last FROM gone;
END $$;

-- Exact, and as fast with a million messages waiting as with none: counts and leases are added up, and the
-- oldest message is the first of its lane. `consumers` counts the locks that open consumers hold.
CREATE OR REPLACE FUNCTION labmon_queue_depth(of_queue text) RETURNS TABLE (
    ready bigint, ready_high bigint, in_flight bigint, dead bigint, consumers bigint, oldest_age double precision
) LANGUAGE sql STABLE SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
    WITH total AS (
        SELECT coalesce(sum(change) FILTER (WHERE lane = 'high'), 0) AS high,
               coalesce(sum(change) FILTER (WHERE lane = 'normal'), 0) AS normal,
               coalesce(sum(change) FILTER (WHERE lane = 'dead'), 0) AS dead
        FROM labmon_queue_count WHERE queue = of_queue
    ), held AS (
        SELECT coalesce(sum(held) FILTER (WHERE high), 0) AS high,
               coalesce(sum(held) FILTER (WHERE NOT high), 0) AS normal
        FROM labmon_queue_lease WHERE queue = of_queue AND leased_until > now()
    ), oldest AS (
        (SELECT enqueued_at FROM labmon_queue
         WHERE queue = of_queue AND high AND leased_until <= now() ORDER BY id LIMIT 1)
        UNION ALL
        (SELECT enqueued_at FROM labmon_queue
         WHERE queue = of_queue AND NOT high AND leased_until <= now() ORDER BY id LIMIT 1)
    )
    SELECT greatest(0, total.high - held.high + total.normal - held.normal)::bigint,
           greatest(0, total.high - held.high)::bigint,
           (held.high + held.normal)::bigint,
           total.dead::bigint,
           (SELECT count(*) FROM pg_locks AS l, labmon_queue_name AS n
            WHERE n.queue = of_queue AND l.locktype = 'advisory' AND l.mode = 'ShareLock' AND l.granted
              AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND l.classid = 1818321517 AND l.objid = n.number::oid AND l.objsubid = 2),
           coalesce(extract(epoch FROM now() - (SELECT min(labmon_queue_time(enqueued_at)) FROM oldest)), 0)::double precision
    FROM total, held
$$;
