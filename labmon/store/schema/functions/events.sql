-- Every accepted message as it came, one row each.

-- A body as text. In fields that labmon does not know, and so does not read, there may be bytes that are not UTF-8.
CREATE OR REPLACE FUNCTION labmon_body_text(body bytea) RETURNS text IMMUTABLE STRICT LANGUAGE plpgsql AS $$
BEGIN
    RETURN convert_from(body, 'UTF8');
EXCEPTION WHEN character_not_in_repertoire OR untranslatable_character THEN
    RETURN encode(body, 'escape');
END
$$;

CREATE OR REPLACE VIEW events AS
SELECT received_at, queue, system_id, labmon_body_text(body) AS body
FROM event_batches, unnest(systems, bodies) AS one (system_id, body);
