-- How packed readings are read. labmon/store/metrics/codec.py packs them, and says what the bytes are.
--
-- Written for what is looked at most: one metric. The view unpacks no other columns than those asked for.

-- How many bits a number needs; 0 for 0.
CREATE OR REPLACE FUNCTION labmon_bits(number bigint) RETURNS integer IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql AS $$
    SELECT length(ltrim(number::bit(64)::text, '0'))
$$;

-- A number from as many bytes as it needed.
CREATE OR REPLACE FUNCTION labmon_long(short bytea) RETURNS bigint IMMUTABLE PARALLEL SAFE LANGUAGE sql AS $$
    SELECT CASE WHEN octet_length(short) = 0 THEN 0
        ELSE ('x' || encode(short, 'hex'))::bit(64)::bigint >> 64 - 8 * octet_length(short) END
$$;

-- A packed column of whole numbers, with `places` values.
CREATE OR REPLACE FUNCTION labmon_unpack(packed bytea, places integer) RETURNS bigint[]
IMMUTABLE STRICT PARALLEL SAFE LANGUAGE plpgsql AS $$
DECLARE
    kind integer := get_byte(packed, 0);
    width integer := get_byte(packed, 1);
    least_size integer := get_byte(packed, 2) & 15;
    step_size integer := get_byte(packed, 2) >> 4;
    least bigint := labmon_long(substr(packed, 4, least_size));
    step bigint := labmon_long(substr(packed, 4 + least_size, step_size));
    start integer := 4 + least_size + step_size;
    patches integer := 0; patch_width integer; place_bits integer; place integer;
    bits varbit;
    first integer := 1;  -- bit of the values
    result bigint[];
BEGIN
    IF width = 0 AND step = 0 AND kind < 16 THEN  -- nothing ever changed
        RETURN array_fill(least, ARRAY[places]);
    END IF;
    IF kind & 32 <> 0 THEN
        patches := get_byte(packed, start - 1);
        patch_width := get_byte(packed, start);
        start := start + 2;
    END IF;
    IF kind & 16 <> 0 THEN
        first := 1 + places;
    END IF;
    bits := ('x' || encode(substr(packed, start), 'hex'))::varbit;
    IF width = 0 THEN
        result := (SELECT array_agg(least + step * i) FROM generate_series(0, places - 1) AS i);
    ELSE
        result := (
            SELECT array_agg(least + step * i + substring(bits, first + width * i, width)::bigint)
            FROM generate_series(0, places - 1) AS i
        );
    END IF;
    IF patches > 0 THEN
        place_bits := labmon_bits(places);
        first := first + width * places;
        FOR n IN 1..patches LOOP
            place := 1 + substring(bits, first, place_bits)::integer;
            result[place] := result[place] + (substring(bits, first + place_bits, patch_width)::bigint << width);
            first := first + place_bits + patch_width;
        END LOOP;
    END IF;
    IF kind & 64 <> 0 THEN
        result := (
            SELECT array_agg(CASE WHEN x < 1000 THEN x
                ELSE (x - 900 * ((x - 100) / 900)) * (10::double precision ^ ((x - 100) / 900))::bigint END)
            FROM unnest(result) AS x
        );
    END IF;
    IF kind & 16 <> 0 THEN
        result := (
            SELECT array_agg(CASE WHEN get_bit(bits, i::integer - 1) = 0 THEN x END ORDER BY i)
            FROM unnest(result) WITH ORDINALITY AS one (x, i)
        );
    END IF;
    RETURN result;
END
$$;

-- IEEE 754 binary32, from its bits.
CREATE OR REPLACE FUNCTION labmon_real_of_bits(bits bigint) RETURNS real IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql AS $$
    SELECT CASE
        WHEN (bits >> 23) & 255 = 255 AND bits & 8388607 <> 0 THEN 'NaN'::real
        WHEN (bits >> 23) & 255 = 255 THEN (CASE WHEN bits < 0 THEN '-Infinity' ELSE 'Infinity' END)::real
        ELSE (CASE WHEN bits < 0 THEN -1 ELSE 1 END * CASE (bits >> 23) & 255
            WHEN 0 THEN (bits & 8388607)::double precision * 2::double precision ^ (-149)
            ELSE ((bits & 8388607) + 8388608)::double precision * 2::double precision ^ (((bits >> 23) & 255) - 150)
        END)::real
    END
$$;

-- A packed column of reals, with `places` values.
CREATE OR REPLACE FUNCTION labmon_unpack_real(packed bytea, places integer) RETURNS real[]
IMMUTABLE STRICT PARALLEL SAFE LANGUAGE plpgsql AS $$
DECLARE
    kind integer := get_byte(packed, 0) & 15;
    factor double precision := 10::double precision ^ (kind - 1);
    numbers bigint[] := labmon_unpack(packed, places);
BEGIN
    IF get_byte(packed, 0) < 8 AND get_byte(packed, 1) = 0 AND get_byte(packed, 2) < 16 THEN
        RETURN array_fill((numbers[1] / factor)::real, ARRAY[places]);
    ELSIF kind = 8 THEN
        RETURN (SELECT array_agg(labmon_real_of_bits(x)) FROM unnest(numbers) AS x);
    ELSIF kind = 1 THEN
        RETURN numbers::real[];
    END IF;
    RETURN (SELECT array_agg((x / factor)::real) FROM unnest(numbers) AS x);
END
$$;

-- Make the view of all readings, packed or not, from the columns of `metrics`; again whenever `metrics` and
-- `metrics_packed` have got another. OFFSET 0 keeps the planner from working the arrays out for every reading, and
-- lets it leave out those that were not asked for.
--
-- Who reads `readings` should say which hours too (`hour` is the start of the one that a reading is in): that is
-- what the index of the packed ones knows.
CREATE OR REPLACE FUNCTION labmon_make_readings() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    plain text; unpacked text; one text;
BEGIN
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum),
           string_agg(format('%s(p.%2$I, p.readings) AS %2$I', CASE atttypid WHEN 'real'::regtype
               THEN 'labmon_unpack_real' ELSE 'labmon_unpack' END, attname), ', ' ORDER BY attnum),
           string_agg(format('one.%I[place]', attname), ', ' ORDER BY attnum)
    INTO plain, unpacked, one
    FROM pg_attribute
    WHERE attrelid = 'metrics'::regclass AND attnum > 0 AND NOT attisdropped
      AND attname NOT IN ('system_id', 'collected_at');
    EXECUTE format(
        'CREATE OR REPLACE VIEW readings AS '
        'SELECT system_id, collected_at, labmon_bucket(''1 hour'', collected_at) AS hour, %s FROM metrics '
        'UNION ALL '
        'SELECT p.system_id, p.hour + moment * interval ''1 microsecond'', p.hour, %s '
        'FROM metrics_packed AS p, '
        'LATERAL (SELECT labmon_unpack(p.collected_at, p.readings) AS moments, %s OFFSET 0) AS one, '
        'unnest(one.moments) WITH ORDINALITY AS at (moment, place)',
        plain, one, unpacked
    );
END
$$;

SELECT labmon_make_readings();
