-- What an alert that no rule makes says of itself: what happened, and what to do.
ALTER TABLE alerts ADD COLUMN note text;
ALTER TABLE alert_incidents ADD COLUMN message text;
