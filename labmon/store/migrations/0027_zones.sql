-- Names that PostgreSQL takes for abbreviations of a fixed offset, winter time all year: see store/inventory/zones.py.
UPDATE maintenance SET timezone = region FROM (VALUES
    ('CET', 'Europe/Brussels'), ('MET', 'Europe/Brussels'), ('EET', 'Europe/Athens'), ('WET', 'Europe/Lisbon'),
    ('EST', 'America/Panama'), ('MST', 'America/Phoenix'), ('HST', 'Pacific/Honolulu')) AS known (name, region)
WHERE timezone = name;
