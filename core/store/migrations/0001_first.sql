-- Runs, their jobs, and what the jobs report. Order is by sequence and step, never by the clock.

CREATE TABLE runs (
    id INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    method VARCHAR NOT NULL,
    objective VARCHAR NOT NULL,
    created DOUBLE NOT NULL,
    folder VARCHAR NOT NULL,              -- relative to the home
    recipe VARCHAR NOT NULL,              -- JSON, resolved
    source VARCHAR NOT NULL,              -- the recipe's own text
    state VARCHAR NOT NULL,               -- JSON: finetop.core.protocol.runs.State of its training job
    rank TINYINT NOT NULL,                -- 0 needs you, 1 running, 2 queued, 3 done: the order of the list
    ended DOUBLE,
    step INTEGER NOT NULL DEFAULT 0,
    steps INTEGER NOT NULL DEFAULT 0,     -- planned
    last VARCHAR NOT NULL DEFAULT '{}',   -- JSON: the last value of each metric
    brief VARCHAR,                        -- JSON: CheckBrief of the newest check
    first_row VARCHAR,                    -- JSON: FirstRow.pieces
    tags VARCHAR NOT NULL DEFAULT '[]',
    note VARCHAR NOT NULL DEFAULT '',
    best VARCHAR,                         -- JSON: finetop.core.protocol.runs.Best, the checkpoint to keep
    said VARCHAR DEFAULT '',              -- why going on with it was refused, in words
    triage TINYINT DEFAULT 0,             -- 0 no regression, 1 new, 2 looking, 3 accepted, 4 fixed
    points_lost DOUBLE                    -- of the check that it is known by
);

CREATE TABLE parents (                    -- a run may begin at another's checkpoint, and wait for that run to end
    run_id INTEGER NOT NULL,
    parent_id INTEGER NOT NULL,
    setting VARCHAR NOT NULL,             -- of the recipe: model.id, objective.reward.model …
    step INTEGER                          -- of the parent's checkpoint; NULL: known when the parent has finished
);

CREATE TABLE settings (                   -- of each run's recipe, so that a list is filtered by one without reading recipes
    run_id INTEGER NOT NULL,
    key VARCHAR NOT NULL,                 -- dotted: train.learning_rate
    word VARCHAR NOT NULL,
    number DOUBLE                         -- NULL where it is none
);

CREATE TABLE jobs (
    id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    verb VARCHAR NOT NULL,                -- train, check …: finetop.core.protocol.runs.Verb
    args VARCHAR NOT NULL,                -- JSON
    priority INTEGER NOT NULL,            -- smaller starts first
    created DOUBLE NOT NULL,
    folder VARCHAR NOT NULL,              -- relative to the run folder
    word VARCHAR NOT NULL,                -- queued, running, finished, stopped, failed, lost
    state VARCHAR NOT NULL,               -- JSON: finetop.core.protocol.runs.State
    asked VARCHAR NOT NULL DEFAULT '',    -- stop, kill: wanted by a person
    attempt INTEGER NOT NULL DEFAULT 0,
    bytes_read BIGINT NOT NULL DEFAULT 0, -- of events.jsonl; moves in the transaction of the rows it stands for
    last_n BIGINT NOT NULL DEFAULT 0,     -- highest event number taken in
    last_event DOUBLE,
    bad_lines INTEGER NOT NULL DEFAULT 0,
    skipping BOOLEAN NOT NULL DEFAULT false, -- inside a line too long to be one of ours
    ended_word VARCHAR,                   -- JSON: the job's own Ended
    device VARCHAR NOT NULL DEFAULT '',
    versions VARCHAR NOT NULL DEFAULT '{}',
    planned VARCHAR NOT NULL DEFAULT '{}',
    place DOUBLE,                         -- among those of its priority; NULL: as it came, which is its id
    held BOOLEAN DEFAULT false,           -- it waits until a person releases it
    not_before DOUBLE,                    -- it waits until then, seconds since 1970
    undo VARCHAR,                         -- JSON: finetop.core.protocol.runs.Before, how its run stood before it was queued
    gpus VARCHAR DEFAULT '[]',            -- JSON: list of finetop.core.protocol.runs.Share, of the last attempt
    gpu_fault VARCHAR DEFAULT '',         -- what befell one of them, in words; empty where they are well
    bad_line VARCHAR                      -- the first event line that can't be read: where it is, and why
);

CREATE TABLE queue_held (                 -- a row while the whole queue is held
    since DOUBLE NOT NULL
);

-- What jobs report: events.jsonl holds all of it, so that it can be made again.

CREATE TABLE metrics (
    run_id INTEGER NOT NULL,
    key VARCHAR NOT NULL,
    step INTEGER NOT NULL,
    time DOUBLE NOT NULL,
    value DOUBLE,                         -- NULL where it was not finite
    bad VARCHAR                           -- nan, inf, -inf
);

CREATE TABLE checkpoints (
    run_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    step INTEGER NOT NULL,
    path VARCHAR NOT NULL,                -- relative to the run folder
    size_bytes BIGINT NOT NULL,
    kind VARCHAR NOT NULL,
    time DOUBLE NOT NULL
);

CREATE TABLE cleaned (                    -- checkpoints that `finetop clean` took away
    run_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    step INTEGER NOT NULL,
    time DOUBLE NOT NULL                  -- the checkpoint's, which tells it from a later one of the same step
);

CREATE TABLE samples (
    run_id INTEGER NOT NULL,
    step INTEGER NOT NULL,
    index INTEGER NOT NULL,
    prompt VARCHAR NOT NULL,
    text VARCHAR NOT NULL
);

CREATE TABLE alarms (
    run_id INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    step INTEGER NOT NULL,
    text VARCHAR NOT NULL,
    time DOUBLE NOT NULL,
    over_step INTEGER                     -- since which step it is over; NULL: it is not
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
    fingerprint VARCHAR NOT NULL,
    used INTEGER                          -- in an epoch, where the source's share decides; NULL: all that were kept
);

CREATE TABLE data_sources (               -- what each source held when a run read it: finetop.core.protocol.events.SourceRead
    run_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    time DOUBLE NOT NULL,
    source VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    part VARCHAR NOT NULL,
    used_as VARCHAR NOT NULL,             -- train, replay, eval
    rows INTEGER NOT NULL,
    content VARCHAR NOT NULL,
    row_limit INTEGER,
    share DOUBLE,
    size BIGINT NOT NULL,
    written DOUBLE,
    placed DOUBLE,
    revision VARCHAR NOT NULL,
    fingerprint VARCHAR NOT NULL,
    sha256 VARCHAR DEFAULT '',            -- of the file itself, by which a manifest knows it
    origin VARCHAR                        -- JSON: finetop.core.protocol.data_diff.Origin, as the manifest beside it told
);

CREATE TABLE data_versions (              -- kept when its runs are gone, so that a number always means the same
    path VARCHAR NOT NULL,
    part VARCHAR NOT NULL,
    row_limit INTEGER,                    -- the first rows of a file are another source than the file
    number INTEGER NOT NULL,
    content VARCHAR NOT NULL,
    rows INTEGER NOT NULL,
    first_seen DOUBLE NOT NULL
);

-- Checks for forgetting, and how people see what they showed.

CREATE TABLE item_scores (
    run_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    model VARCHAR NOT NULL,               -- base, tuned
    key VARCHAR NOT NULL,                 -- the full key of the score cache
    task VARCHAR NOT NULL,
    item VARCHAR NOT NULL,
    score DOUBLE NOT NULL,
    answer VARCHAR NOT NULL,
    answer_log_prob DOUBLE,
    gold_log_prob DOUBLE,
    best_other_log_prob DOUBLE,
    step INTEGER                          -- NULL: of the job's one check, or of the base
);

CREATE TABLE checks (
    id INTEGER NOT NULL,                  -- a number of its own: a training job checks on its way
    run_id INTEGER NOT NULL,
    step INTEGER,
    time DOUBLE NOT NULL,
    verdict VARCHAR NOT NULL,
    result VARCHAR NOT NULL,              -- JSON: the whole result
    job_id INTEGER,
    claim INTEGER DEFAULT 0,              -- 0: the run's only one; k: the k-th checkpoint's
    watch BOOLEAN DEFAULT false,          -- a look that claims nothing
    superseded BOOLEAN DEFAULT false      -- of a checkpoint that a resumed run has left behind
);

CREATE TABLE triage (
    run_id INTEGER NOT NULL,
    task VARCHAR NOT NULL,                -- '': the run as a whole
    state VARCHAR NOT NULL,               -- new, looking, accepted, fixed
    who VARCHAR NOT NULL,
    time DOUBLE NOT NULL,
    reason VARCHAR NOT NULL,              -- why it was accepted
    note VARCHAR NOT NULL,
    fixed_by VARCHAR NOT NULL,            -- the name of the run that mends it
    points_lost DOUBLE                    -- when that was said
);

CREATE TABLE remedies (                   -- finetop.core.protocol.events.RemedyTried, RemedyConfirmed
    run_id INTEGER NOT NULL,
    step INTEGER NOT NULL,                -- of the checkpoint that they are tried for
    name VARCHAR NOT NULL,                -- "now": that checkpoint itself
    job_id INTEGER NOT NULL,
    time DOUBLE NOT NULL,
    verdict VARCHAR NOT NULL,             -- ok, regressed, no_verdict (on the items for choosing), failed, unchanged
    gain DOUBLE,                          -- share of the target's gain that is kept
    lost DOUBLE,                          -- the drop, in [-1, 1]
    low DOUBLE,
    high DOUBLE,
    confirmation VARCHAR NOT NULL,        -- '': not asked; ok, regressed, no_verdict, no_items: on items that chose nothing
    row VARCHAR NOT NULL                  -- JSON: finetop.core.protocol.runs.RemedyRow
);

-- Approaches to one task, side by side: which runs a comparison is of, and what each run's measuring told.

CREATE TABLE comparisons (                -- about no run: kept in store.json
    name VARCHAR NOT NULL,
    created DOUBLE NOT NULL,
    subject VARCHAR NOT NULL,             -- sha256 of what all of them are asked: base, target, new facts
    metric VARCHAR NOT NULL,
    left_out VARCHAR NOT NULL             -- JSON: approach -> why it can't be had
);

CREATE TABLE approaches (                 -- kept in the run's run.json
    run_id INTEGER NOT NULL,
    comparison VARCHAR NOT NULL,
    approach VARCHAR NOT NULL,
    seed BIGINT NOT NULL,
    learns_news BOOLEAN NOT NULL,         -- trained anew on the new facts too
    digest VARCHAR NOT NULL               -- sha256 of recipe and data; '': unknown, and never used again
);

CREATE TABLE measured (                   -- finetop.core.protocol.events.ApproachMeasured
    run_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    time DOUBLE NOT NULL,
    step INTEGER,                         -- of the checkpoint; NULL where no weight moved
    result VARCHAR NOT NULL               -- JSON of the event
);

-- What the store alone decides is written into the run folders too (store/run_records.py), so that it can be made again.

CREATE TABLE unrecorded (                 -- runs whose folder does not tell the newest yet
    run_id INTEGER NOT NULL
);

CREATE TABLE recorded (                   -- one row: how often records were written; store.json has the same number
    number BIGINT NOT NULL
);
INSERT INTO recorded VALUES (0);

CREATE TABLE removed (                    -- the highest numbers that were ever given away: none is given twice
    what VARCHAR NOT NULL,                -- runs, jobs, checks
    highest INTEGER NOT NULL
);

-- What a person may want to hear of waits here until it is told; no run folder keeps it.

CREATE TABLE notices (
    id BIGINT NOT NULL,                   -- grows, also through a rebuild: the clock's microseconds, or one more than the last
    run_id INTEGER NOT NULL,              -- 0: the whole home
    kind VARCHAR NOT NULL,                -- an alarm's, or failed, lost, regressed …
    step INTEGER,
    text VARCHAR NOT NULL,
    time DOUBLE NOT NULL,
    told BOOLEAN NOT NULL                 -- in a message, or not wanted in one
);

CREATE TABLE messages (                   -- what is sent on, by one way; in the transaction that marks its notices as told
    id BIGINT NOT NULL,                   -- the number of its newest notice: the same each time that it is tried
    way VARCHAR NOT NULL,                 -- command, webhook
    run_id INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    body VARCHAR NOT NULL,                -- JSON
    made DOUBLE NOT NULL,
    due DOUBLE NOT NULL,                  -- not to be tried before
    tries INTEGER NOT NULL,
    outcome VARCHAR                       -- NULL: not sent yet; '': sent; else why it was given up
);
