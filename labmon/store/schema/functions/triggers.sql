-- When the database calls the functions of the other files.

CREATE OR REPLACE TRIGGER labmon_metrics_due AFTER INSERT ON metrics
REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION labmon_metrics_due();

CREATE OR REPLACE TRIGGER labmon_alerts AFTER INSERT ON metrics REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION labmon_alerts_on_metrics();

CREATE OR REPLACE TRIGGER labmon_keep_status AFTER UPDATE ON systems
REFERENCING OLD TABLE AS before NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION labmon_keep_status();

CREATE OR REPLACE TRIGGER labmon_leave_seat BEFORE UPDATE OF lab_id ON systems FOR EACH ROW
    WHEN (OLD.lab_id IS DISTINCT FROM NEW.lab_id AND OLD.seat_column IS NOT NULL)
    EXECUTE FUNCTION labmon_leave_seat();

CREATE OR REPLACE TRIGGER labmon_alerts AFTER INSERT ON alerts REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION labmon_alerts_on_alerts();

CREATE OR REPLACE TRIGGER labmon_rules AFTER INSERT OR DELETE
    OR UPDATE OF name, kind, metric, enabled, dept_id, lab_id, system_id ON alert_rules
    FOR EACH STATEMENT EXECUTE FUNCTION labmon_alerts_on_rules();

CREATE OR REPLACE TRIGGER labmon_removed_rules AFTER DELETE ON alert_rules REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION labmon_alerts_on_removed_rules();
