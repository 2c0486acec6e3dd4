-- Approaches to one task, side by side: which runs a comparison is of, and what each run's measuring told.

CREATE TABLE comparisons (             -- about no run: kept in store.json
    name VARCHAR NOT NULL,
    created DOUBLE NOT NULL,
    subject VARCHAR NOT NULL,          -- sha256 of what all of them are asked: base, target, new facts
    metric VARCHAR NOT NULL,
    left_out VARCHAR NOT NULL          -- JSON: approach -> why it can't be had
);

CREATE TABLE approaches (              -- kept in the run's run.json
    run_id INTEGER NOT NULL,
    comparison VARCHAR NOT NULL,
    approach VARCHAR NOT NULL,
    seed BIGINT NOT NULL,
    learns_news BOOLEAN NOT NULL,      -- trained anew on the new facts too
    digest VARCHAR NOT NULL            -- sha256 of recipe and data; '': unknown, and never used again
);

CREATE TABLE measured (                -- told by events (finetop.core.events.ApproachMeasured)
    run_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    time DOUBLE NOT NULL,
    step INTEGER,                      -- of the checkpoint; NULL where no weight moved
    result VARCHAR NOT NULL            -- JSON of the event
);
