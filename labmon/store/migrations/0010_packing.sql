-- Old readings, small: one row per machine and hour, each metric a byte string, exact.
--
-- A packed metric is: a byte of flags; the least value; where they are a slope (time, uptime), the step; then
-- what each value is more than the least, a plane of low bytes, a plane of the next, as many as are needed:
-- none for what did not change.
--   1..4   decimals + 1: the values times 10^decimals are whole numbers
--   8      the values are the bits of a real
--   16     the first plane says 0 for NULL
--   32     a step for every place is added
--   64     the least value and the step have eight bytes, not four

CREATE FUNCTION labmon_pack(numbers bigint[], kind integer DEFAULT 1) RETURNS bytea
IMMUTABLE PARALLEL SAFE LANGUAGE plpgsql AS $$
DECLARE
    places integer := cardinality(numbers);
    level bigint[];
    least bigint; most bigint; gaps boolean; step bigint := 0; level_least bigint; level_most bigint;
    spread bigint; plane integer := 0; packed bytea;
BEGIN
    SELECT min(x), max(x), bool_or(x IS NULL) INTO least, most, gaps FROM unnest(numbers) AS x;
    IF least IS NULL THEN
        RETURN NULL;
    END IF;
    IF most > least AND NOT gaps AND numbers[places] - numbers[1] = most - least THEN
        step := (most - least) / (places - 1);
        SELECT array_agg(x - step * (i - 1) ORDER BY i), min(x - step * (i - 1)), max(x - step * (i - 1))
        INTO level, level_least, level_most FROM unnest(numbers) WITH ORDINALITY AS one (x, i);
        IF level_most - level_least < (most - least) / 4 THEN
            numbers := level; least := level_least; most := level_most;
        ELSE
            step := 0;
        END IF;
    END IF;
    IF gaps THEN
        kind := kind + 16;
        packed := (SELECT string_agg(CASE WHEN x IS NULL THEN '\x00' ELSE '\x01' END::bytea, '') FROM unnest(numbers) AS x);
    ELSE
        packed := '';
    END IF;
    spread := most - least;
    WHILE spread > 0 LOOP
        packed := packed || (
            SELECT string_agg(substr(int8send(COALESCE(x, least) - least), 8 - plane, 1), '') FROM unnest(numbers) AS x
        );
        plane := plane + 1;
        spread := spread >> 8;
    END LOOP;
    IF step <> 0 THEN
        kind := kind + 32;
    END IF;
    IF least BETWEEN -2147483648 AND 2147483647 AND step <= 2147483647 THEN
        RETURN set_byte('\x00', 0, kind) || int4send(least::integer)
            || CASE WHEN step <> 0 THEN int4send(step::integer) ELSE '' END || packed;
    END IF;
    RETURN set_byte('\x00', 0, kind + 64) || int8send(least)
        || CASE WHEN step <> 0 THEN int8send(step) ELSE '' END || packed;
END
$$;

-- Most sensors have two or three decimals, and whole numbers pack better than the bits of a real.
CREATE FUNCTION labmon_pack(numbers real[]) RETURNS bytea IMMUTABLE PARALLEL SAFE LANGUAGE plpgsql AS $$
DECLARE
    none boolean; two boolean; three boolean;
BEGIN
    SELECT bool_and(round(x) = x), bool_and((round(x * 100) / 100)::real = x::real),
           bool_and((round(x * 1000) / 1000)::real = x::real)
    INTO none, two, three FROM (SELECT x::double precision FROM unnest(numbers) AS x) AS each
    HAVING bool_and(abs(x) <= 1e15);
    IF none THEN
        RETURN labmon_pack(numbers::bigint[]);
    ELSIF two THEN
        RETURN labmon_pack((SELECT array_agg(round(x::double precision * 100)::bigint) FROM unnest(numbers) AS x), 3);
    ELSIF three THEN
        RETURN labmon_pack((SELECT array_agg(round(x::double precision * 1000)::bigint) FROM unnest(numbers) AS x), 4);
    END IF;
    RETURN labmon_pack(
        (SELECT array_agg(('x' || encode(float4send(x), 'hex'))::bit(32)::integer::bigint) FROM unnest(numbers) AS x), 8
    );
END
$$;

-- Microseconds since the hour began.
CREATE FUNCTION labmon_pack(moments timestamptz[], hour timestamptz) RETURNS bytea
IMMUTABLE PARALLEL SAFE LANGUAGE sql AS $$
    SELECT labmon_pack(array_agg((extract(epoch FROM at - hour) * 1000000)::bigint)) FROM unnest(moments) AS at
$$;

CREATE FUNCTION labmon_unpack(packed bytea, places integer) RETURNS bigint[]
IMMUTABLE STRICT PARALLEL SAFE LANGUAGE plpgsql AS $$
DECLARE
    kind integer := get_byte(packed, 0);
    size integer := CASE WHEN kind & 64 <> 0 THEN 8 ELSE 4 END;
    least bigint; step bigint := 0; start integer := 1 + size; planes integer; known bytea; result bigint[];
BEGIN
    packed := packed || ''::bytea;  -- decompressed once, and not for every byte
    least := ('x' || encode(substr(packed, 2, size), 'hex'))::bit(64)::bigint;
    IF size = 4 THEN
        least := least >> 32;
    END IF;
    IF kind & 32 <> 0 THEN
        step := ('x' || encode(substr(packed, 2 + size, size), 'hex'))::bit(64)::bigint;
        IF size = 4 THEN
            step := step >> 32;
        END IF;
        start := start + size;
    END IF;
    IF kind & 16 <> 0 THEN
        known := substr(packed, start + 1, places);
        start := start + places;
    END IF;
    planes := (octet_length(packed) - start) / places;
    CASE planes
    WHEN 0 THEN
        result := (SELECT array_agg(least + step * i ORDER BY i) FROM generate_series(0, places - 1) AS i);
    WHEN 1 THEN
        result := (
            SELECT array_agg(least + step * i + get_byte(packed, start + i))
            FROM generate_series(0, places - 1) AS i
        );
    WHEN 2 THEN
        result := (
            SELECT array_agg(
                least + step * i + get_byte(packed, start + i) + 256 * get_byte(packed, start + places + i)
            ) FROM generate_series(0, places - 1) AS i
        );
    ELSE
        result := (
            SELECT array_agg(least + step * i + (
                SELECT bit_or(get_byte(packed, start + plane * places + i)::bigint << 8 * plane)
                FROM generate_series(0, planes - 1) AS plane
            )) FROM generate_series(0, places - 1) AS i
        );
    END CASE;
    IF known IS NOT NULL THEN
        result := (
            SELECT array_agg(CASE WHEN get_byte(known, i::integer - 1) = 1 THEN x END ORDER BY i)
            FROM unnest(result) WITH ORDINALITY AS one (x, i)
        );
    END IF;
    RETURN result;
END
$$;

-- IEEE 754 binary32, from its bits.
CREATE FUNCTION labmon_real_of_bits(bits bigint) RETURNS real IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql AS $$
    SELECT CASE
        WHEN (bits >> 23) & 255 = 255 AND bits & 8388607 <> 0 THEN 'NaN'::real
        WHEN (bits >> 23) & 255 = 255 THEN (CASE WHEN bits < 0 THEN '-Infinity' ELSE 'Infinity' END)::real
        ELSE (CASE WHEN bits < 0 THEN -1 ELSE 1 END * CASE (bits >> 23) & 255
            WHEN 0 THEN (bits & 8388607)::double precision * 2::double precision ^ (-149)
            ELSE ((bits & 8388607) + 8388608)::double precision * 2::double precision ^ (((bits >> 23) & 255) - 150)
        END)::real
    END
$$;

CREATE FUNCTION labmon_unpack_real(packed bytea, places integer) RETURNS real[]
IMMUTABLE STRICT PARALLEL SAFE LANGUAGE plpgsql AS $$
DECLARE
    kind integer := get_byte(packed, 0) & 15;
    factor double precision := 10::double precision ^ (kind - 1);
BEGIN
    IF kind = 8 THEN
        RETURN (SELECT array_agg(labmon_real_of_bits(x)) FROM unnest(labmon_unpack(packed, places)) AS x);
    ELSIF kind = 1 THEN
        RETURN labmon_unpack(packed, places)::real[];
    END IF;
    RETURN (SELECT array_agg((x / factor)::real) FROM unnest(labmon_unpack(packed, places)) AS x);
END
$$;
