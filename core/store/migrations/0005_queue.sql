-- The queue has an order that is changed by hand; jobs are held, wait for a time, and put a run back as it was.

ALTER TABLE jobs ADD COLUMN place DOUBLE;             -- among those of its priority; NULL: as it came, which is its id
ALTER TABLE jobs ADD COLUMN held BOOLEAN DEFAULT false;  -- it waits until a person releases it
ALTER TABLE jobs ADD COLUMN not_before DOUBLE;        -- it waits until then, seconds since 1970
ALTER TABLE jobs ADD COLUMN undo VARCHAR;             -- JSON: finetop.core.run.Before, how its run stood before it was queued
UPDATE jobs SET held = false;

ALTER TABLE runs ADD COLUMN said VARCHAR DEFAULT '';  -- why going on with it was refused, in words
UPDATE runs SET said = '';

CREATE TABLE queue_held (                             -- a row while the whole queue is held
    since DOUBLE NOT NULL
);
