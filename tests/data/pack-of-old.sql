-- How readings were packed in the database, before labmon/store/metrics/codec.py did it outside. For test_pack.py.

CREATE FUNCTION labmon_bits(number bigint) RETURNS integer IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql AS $$
    SELECT length(ltrim(number::bit(64)::text, '0'))
$$;

-- A number in as many bytes as it needs, none for 0, and back.
CREATE FUNCTION labmon_short(number bigint) RETURNS bytea IMMUTABLE PARALLEL SAFE LANGUAGE sql AS $$
    SELECT CASE WHEN number = 0 THEN ''::bytea
        ELSE substr(int8send(number), 8 - labmon_bits(CASE WHEN number < 0 THEN ~number ELSE number END) / 8) END
$$;

CREATE FUNCTION labmon_pack(numbers bigint[], kind integer DEFAULT 1) RETURNS bytea
IMMUTABLE PARALLEL SAFE LANGUAGE plpgsql AS $$
DECLARE
    places integer := cardinality(numbers);
    place_bits integer := labmon_bits(places);
    level bigint[];
    least bigint; most bigint; gaps boolean; step bigint := 0; level_least bigint; level_most bigint;
    usual bigint[]; full_width integer; width integer; few integer; patches integer := 0; patch_bits text;
    bits text := ''; header bytea;
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
    full_width := labmon_bits(most - least);
    width := full_width;
    IF width > 1 AND places BETWEEN 8 AND 850 THEN  -- so that patches can be counted in a byte
        usual := (SELECT percentile_disc(ARRAY[0.7, 0.8, 0.9, 0.95]) WITHIN GROUP (ORDER BY x) FROM unnest(numbers) AS x);
        FOR n IN 1..4 LOOP
            few := labmon_bits(usual[n] - least);
            IF few < full_width AND places * (full_width - few)
                > 16 + (1 - (ARRAY[0.7, 0.8, 0.9, 0.95])[n]) * places * (place_bits + full_width - few) THEN
                width := few;
                EXIT;
            END IF;
        END LOOP;
    END IF;
    IF gaps THEN
        kind := kind + 16;
        bits := (SELECT string_agg(CASE WHEN x IS NULL THEN '1' ELSE '0' END, '') FROM unnest(numbers) AS x);
    END IF;
    IF width > 0 THEN
        bits := bits || (
            SELECT array_to_string(array_agg(substring((COALESCE(x, least) - least)::bit(64) FROM 65 - width)), '')
            FROM unnest(numbers) AS x
        );
    END IF;
    IF width < full_width THEN
        SELECT count(*), string_agg(
            right((i - 1)::bit(64)::text, place_bits) || right((x - least >> width)::bit(64)::text, full_width - width), ''
        ) INTO patches, patch_bits
        FROM unnest(numbers) WITH ORDINALITY AS one (x, i) WHERE x - least >> width > 0;
        bits := bits || patch_bits;
        kind := kind + 32;
    END IF;
    header := set_byte(set_byte(set_byte('\x000000', 0, kind), 1, width), 2,
        octet_length(labmon_short(least)) + 16 * octet_length(labmon_short(step)))
        || labmon_short(least) || labmon_short(step);
    IF patches > 0 THEN
        header := header || set_byte(set_byte('\x0000', 0, patches), 1, full_width - width);
    END IF;
    RETURN header || substr(varbit_send(bits::varbit), 5);  -- without its length
END
$$;

-- Most sensors have a few decimals, and whole numbers pack better than the bits of a real.
CREATE FUNCTION labmon_pack(numbers real[]) RETURNS bytea IMMUTABLE PARALLEL SAFE LANGUAGE plpgsql AS $$
DECLARE
    right_with boolean[];
    factor double precision;
BEGIN
    SELECT ARRAY[
        bool_and(round(x) = x), bool_and((round(x * 10) / 10)::real = x::real),
        bool_and((round(x * 100) / 100)::real = x::real), bool_and((round(x * 1000) / 1000)::real = x::real)
    ] INTO right_with
    FROM (SELECT x::double precision FROM unnest(numbers) AS x) AS each HAVING bool_and(abs(x) <= 1e15);
    FOR decimals IN 0..3 LOOP
        IF right_with[decimals + 1] THEN
            factor := 10::double precision ^ decimals;
            RETURN labmon_pack(
                (SELECT array_agg(round(x::double precision * factor)::bigint) FROM unnest(numbers) AS x), decimals + 1
            );
        END IF;
    END LOOP;
    RETURN labmon_pack(
        (SELECT array_agg(('x' || encode(float4send(x), 'hex'))::bit(32)::integer::bigint) FROM unnest(numbers) AS x), 8
    );
END
$$;
