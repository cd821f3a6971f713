-- `metrics` as one table, without partitions, with its triggers and the view that reads it.
DO $$
DECLARE
    triggers text[] := ARRAY(
        SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'metrics'::regclass AND NOT tgisinternal
    );
    view text := pg_get_viewdef('readings');
    each text;
BEGIN
    DROP VIEW readings;
    ALTER TABLE metrics RENAME TO metrics_divided;
    CREATE TABLE metrics (LIKE metrics_divided INCLUDING ALL);
    DROP TABLE metrics_divided;
    EXECUTE 'CREATE VIEW readings AS ' || view;
    FOREACH each IN ARRAY triggers LOOP
        EXECUTE each;
    END LOOP;
END
$$;
