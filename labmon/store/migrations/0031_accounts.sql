-- People who use the dashboard, how they are logged in, and what they changed.

CREATE TABLE users (
    user_id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            text NOT NULL CHECK (name = lower(name) AND length(name) BETWEEN 1 AND 64),
    role            text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    password        text NOT NULL,  -- scrypt, with its parameters and its salt
    created_at      timestamptz NOT NULL DEFAULT now(),
    last_login_at   timestamptz,
    UNIQUE (name)
);

-- Of sessions and tokens only the SHA-256 is kept: who reads this table cannot log in with it.
CREATE TABLE web_sessions (
    session_id      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id         integer NOT NULL REFERENCES users ON DELETE CASCADE,
    digest          bytea NOT NULL UNIQUE,
    csrf            text NOT NULL,
    address         text NOT NULL,
    browser         text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    last_used_at    timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX web_sessions_user ON web_sessions (user_id);

CREATE TABLE web_tokens (
    token_id        integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id         integer NOT NULL REFERENCES users ON DELETE CASCADE,
    name            text NOT NULL,
    digest          bytea NOT NULL UNIQUE,
    role            text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    created_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz,
    last_used_at    timestamptz
);

CREATE INDEX web_tokens_user ON web_tokens (user_id);

-- Stays when the user goes: it holds names, not references.
CREATE TABLE audit (
    audit_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at              timestamptz NOT NULL DEFAULT now(),
    actor           text NOT NULL,
    action          text NOT NULL,
    object          text NOT NULL,
    detail          jsonb NOT NULL DEFAULT '{}',
    address         text NOT NULL
);

-- Roles that may only read, such as one for Grafana, get every new table by default. Not these.
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT DISTINCT tables.name, grantee
        FROM unnest(ARRAY['users', 'web_sessions', 'web_tokens']) AS tables (name)
        JOIN pg_class ON pg_class.oid = to_regclass(tables.name)
        CROSS JOIN LATERAL aclexplode(relacl)
        WHERE grantee <> relowner
          AND NOT EXISTS (SELECT FROM aclexplode(relacl) AS other
                          WHERE other.grantee = aclexplode.grantee AND other.privilege_type = 'INSERT')
    LOOP
        EXECUTE format('REVOKE ALL ON %I FROM %s', granted.name,
                       CASE granted.grantee WHEN 0 THEN 'PUBLIC' ELSE granted.grantee::regrole::text END);
    END LOOP;
END $$;
