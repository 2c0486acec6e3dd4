-- Regressions have a state that people give them; and each run says whether it has one, and how much it lost.

CREATE TABLE triage (
    run_id INTEGER NOT NULL,
    task VARCHAR NOT NULL,            -- '': the run as a whole
    state VARCHAR NOT NULL,           -- new, looking, accepted, fixed
    who VARCHAR NOT NULL,
    time DOUBLE NOT NULL,
    reason VARCHAR NOT NULL,          -- why it was accepted
    note VARCHAR NOT NULL,
    fixed_by VARCHAR NOT NULL,        -- the name of the run that mends it
    points_lost DOUBLE                -- when that was said
);

ALTER TABLE runs ADD COLUMN triage TINYINT DEFAULT 0;  -- 0 no regression, 1 new, 2 looking, 3 accepted, 4 fixed
ALTER TABLE runs ADD COLUMN points_lost DOUBLE;        -- of the check that it is known by
UPDATE runs SET triage = CASE WHEN brief->>'verdict' = 'regressed' THEN 1 ELSE 0 END,
    points_lost = CAST(brief->>'drop' AS DOUBLE);
