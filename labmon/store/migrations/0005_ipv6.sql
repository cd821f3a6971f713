-- Scans of IPv6, and MAC addresses that belong to one machine again.

-- addresses: target_range, of both families; NULL where it could not be read, and then nobody is gone.
-- inet sorts IPv4 before IPv6. It knows no next address, so whoever writes ranges joins those that touch.
CREATE TYPE labmon_address_range AS RANGE (subtype = inet, multirange_type_name = labmon_address_ranges);

CREATE FUNCTION labmon_from_numbers(numbers int8multirange) RETURNS labmon_address_ranges
IMMUTABLE STRICT LANGUAGE sql AS $$
    SELECT range_agg(labmon_address_range('0.0.0.0'::inet + lower(one), '0.0.0.0'::inet + (upper(one) - 1), '[]'))
    FROM unnest(numbers) one
$$;

ALTER TABLE scans ALTER COLUMN addresses TYPE labmon_address_ranges USING labmon_from_numbers(addresses);

DROP FUNCTION labmon_from_numbers(int8multirange);
DROP FUNCTION labmon_address_number(inet);

ALTER TABLE system_history
    DROP CONSTRAINT system_history_change_check,
    ADD CONSTRAINT system_history_change_check CHECK (change IN (
        'found', 'moved', 'lost', 'renamed', 'mac', 'department', 'shared', 'unshared', 'gone', 'back'
    ));
