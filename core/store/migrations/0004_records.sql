-- What the store alone decides is written into the run folders too (store/records.py), so that it can be made again.

CREATE TABLE unrecorded (               -- runs whose folder does not tell the newest yet
    run_id INTEGER NOT NULL
);
INSERT INTO unrecorded SELECT id FROM runs;

CREATE TABLE recorded (                 -- one row: how often records were written; store.json has the same number
    number BIGINT NOT NULL
);
INSERT INTO recorded VALUES (0);

CREATE TABLE removed (                  -- the highest numbers that were ever given away: none is given twice
    what VARCHAR NOT NULL,              -- runs, jobs, checks
    highest INTEGER NOT NULL
);

CREATE TABLE cleaned (                  -- checkpoints that `finetop clean` took away
    run_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    step INTEGER NOT NULL,
    time DOUBLE NOT NULL                -- the checkpoint's, which tells it from a later one of the same step
);
