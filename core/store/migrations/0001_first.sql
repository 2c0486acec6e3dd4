-- Runs, their jobs, and what the jobs report. Order is by sequence and step, never by the clock.

CREATE TABLE runs (
    id INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    method VARCHAR NOT NULL,
    objective VARCHAR NOT NULL,
    created DOUBLE NOT NULL,
    folder VARCHAR NOT NULL,          -- relative to the home
    recipe VARCHAR NOT NULL,          -- JSON, resolved
    source VARCHAR NOT NULL,          -- the recipe's own text
    state VARCHAR NOT NULL,           -- JSON: finetop.core.run.State of its training job
    rank TINYINT NOT NULL,            -- 0 needs you, 1 running, 2 queued, 3 done: the order of the list
    ended DOUBLE,
    step INTEGER NOT NULL DEFAULT 0,
    steps INTEGER NOT NULL DEFAULT 0, -- planned
    last VARCHAR NOT NULL DEFAULT '{}',  -- JSON: the last value of each metric
    brief VARCHAR,                    -- JSON: CheckBrief of the newest check
    first_row VARCHAR,                -- JSON: FirstRow.pieces
    tags VARCHAR NOT NULL DEFAULT '[]',
    note VARCHAR NOT NULL DEFAULT ''
);

CREATE TABLE jobs (
    id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    verb VARCHAR NOT NULL,            -- train, check
    args VARCHAR NOT NULL,            -- JSON
    priority INTEGER NOT NULL,        -- smaller starts first
    created DOUBLE NOT NULL,
    folder VARCHAR NOT NULL,          -- relative to the run folder
    word VARCHAR NOT NULL,            -- queued, running, finished, stopped, failed, lost
    state VARCHAR NOT NULL,           -- JSON: finetop.core.run.State
    asked VARCHAR NOT NULL DEFAULT '',   -- stop, kill: wanted by a person
    attempt INTEGER NOT NULL DEFAULT 0,
    bytes_read BIGINT NOT NULL DEFAULT 0,  -- of events.jsonl; moves in the transaction of the rows it stands for
    last_n BIGINT NOT NULL DEFAULT 0,      -- highest event number taken in
    last_event DOUBLE,
    bad_lines INTEGER NOT NULL DEFAULT 0,
    skipping BOOLEAN NOT NULL DEFAULT false,  -- inside a line too long to be one of ours
    ended_word VARCHAR,               -- JSON: the job's own Ended
    device VARCHAR NOT NULL DEFAULT '',
    versions VARCHAR NOT NULL DEFAULT '{}',
    planned VARCHAR NOT NULL DEFAULT '{}'
);

CREATE TABLE metrics (
    run_id INTEGER NOT NULL,
    key VARCHAR NOT NULL,
    step INTEGER NOT NULL,
    time DOUBLE NOT NULL,
    value DOUBLE,                     -- NULL where it was not finite
    bad VARCHAR                       -- nan, inf, -inf
);

CREATE TABLE checkpoints (
    run_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    step INTEGER NOT NULL,
    path VARCHAR NOT NULL,            -- relative to the run folder
    size_bytes BIGINT NOT NULL,
    kind VARCHAR NOT NULL,
    time DOUBLE NOT NULL
);

CREATE TABLE samples (
    run_id INTEGER NOT NULL,
    step INTEGER NOT NULL,
    index INTEGER NOT NULL,
    prompt VARCHAR NOT NULL,
    text VARCHAR NOT NULL
);

CREATE TABLE data_reports (
    run_id INTEGER NOT NULL,
    source VARCHAR NOT NULL,
    rows INTEGER NOT NULL,
    kept INTEGER NOT NULL,
    dropped INTEGER NOT NULL,
    truncated INTEGER NOT NULL,
    longest_tokens INTEGER NOT NULL,
    answer_tokens BIGINT NOT NULL,
    fingerprint VARCHAR NOT NULL
);

CREATE TABLE alarms (
    run_id INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    step INTEGER NOT NULL,
    text VARCHAR NOT NULL,
    time DOUBLE NOT NULL
);

CREATE TABLE item_scores (
    run_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    model VARCHAR NOT NULL,           -- base, tuned
    key VARCHAR NOT NULL,             -- the full key of the score cache
    task VARCHAR NOT NULL,
    item VARCHAR NOT NULL,
    score DOUBLE NOT NULL,
    answer VARCHAR NOT NULL,
    answer_log_prob DOUBLE,
    gold_log_prob DOUBLE,
    best_other_log_prob DOUBLE
);

CREATE TABLE checks (
    id INTEGER NOT NULL,              -- its job's
    run_id INTEGER NOT NULL,
    step INTEGER,
    time DOUBLE NOT NULL,
    verdict VARCHAR NOT NULL,
    result VARCHAR NOT NULL           -- JSON: the whole result
);
