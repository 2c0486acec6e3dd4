-- Runs of an older finetop whose settings are not kept yet: read from their recipes while there is nothing else to do.

CREATE TABLE settings_to_fill (
    id INTEGER NOT NULL               -- the run's
);
INSERT INTO settings_to_fill SELECT id FROM runs WHERE id NOT IN (SELECT run_id FROM settings);
