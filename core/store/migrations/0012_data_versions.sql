-- What each data source held when a run read it, and the versions that were ever seen of each.

CREATE TABLE data_sources (            -- told by events: finetop.core.events.SourceRead
    run_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    time DOUBLE NOT NULL,
    source VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    part VARCHAR NOT NULL,
    used_as VARCHAR NOT NULL,          -- train, replay, eval
    rows INTEGER NOT NULL,
    content VARCHAR NOT NULL,
    row_limit INTEGER,
    share DOUBLE,
    size BIGINT NOT NULL,
    written DOUBLE,
    placed DOUBLE,
    revision VARCHAR NOT NULL,
    fingerprint VARCHAR NOT NULL
);

CREATE TABLE data_versions (           -- kept when its runs are gone, so that a number always means the same
    path VARCHAR NOT NULL,
    part VARCHAR NOT NULL,
    row_limit INTEGER,                 -- the first rows of a file are another source than the file
    number INTEGER NOT NULL,
    content VARCHAR NOT NULL,
    rows INTEGER NOT NULL,
    first_seen DOUBLE NOT NULL
);
