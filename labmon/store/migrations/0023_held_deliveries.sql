-- held: what waited when a silence or a maintenance began, or when something larger came to mute it, which `error`
-- names. It waits on, for the end of that.
ALTER TABLE deliveries DROP CONSTRAINT deliveries_state_check,
    ADD CONSTRAINT deliveries_state_check
        CHECK (state IN ('waiting', 'held', 'sent', 'superseded', 'withdrawn', 'failed'));

CREATE INDEX deliveries_held ON deliveries (delivery_id) WHERE state = 'held';

DROP INDEX deliveries_withdrawn;
CREATE INDEX deliveries_untold ON deliveries (target, (alert ->> 'alert_id')) WHERE state IN ('withdrawn', 'held');
