-- What was tried against forgetting without training, told by events (finetop.core.events.RemedyTried, RemedyConfirmed).

CREATE TABLE remedies (
    run_id INTEGER NOT NULL,
    step INTEGER NOT NULL,             -- of the checkpoint that they are tried for
    name VARCHAR NOT NULL,             -- "now": that checkpoint itself
    job_id INTEGER NOT NULL,
    time DOUBLE NOT NULL,
    verdict VARCHAR NOT NULL,          -- ok, regressed, no_verdict (on the items for choosing), failed, unchanged
    gain DOUBLE,                       -- share of the target's gain that is kept
    lost DOUBLE,                       -- the drop, in [-1, 1]
    low DOUBLE,
    high DOUBLE,
    confirmation VARCHAR NOT NULL,     -- '': not asked; ok, regressed, no_verdict, no_items: on items that chose nothing
    row VARCHAR NOT NULL               -- JSON: finetop.core.run.RemedyRow
);
