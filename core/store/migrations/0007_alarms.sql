-- An alarm may be over. What a person may want to hear of waits in this file until it is told; no run folder keeps it.

ALTER TABLE alarms ADD COLUMN over_step INTEGER;  -- since which step it is over; NULL: it is not

CREATE TABLE notices (
    id BIGINT NOT NULL,                -- grows, also through a rebuild: the clock's microseconds, or one more than the last
    run_id INTEGER NOT NULL,           -- 0: the whole home
    kind VARCHAR NOT NULL,             -- an alarm's, or failed, lost, regressed …
    step INTEGER,
    text VARCHAR NOT NULL,
    time DOUBLE NOT NULL,
    told BOOLEAN NOT NULL              -- in a message, or not wanted in one
);

CREATE TABLE messages (                -- what is sent on, by one way; in the transaction that marks its notices as told
    id BIGINT NOT NULL,                -- the number of its newest notice: the same each time that it is tried
    way VARCHAR NOT NULL,              -- command, webhook
    run_id INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    body VARCHAR NOT NULL,             -- JSON
    made DOUBLE NOT NULL,
    due DOUBLE NOT NULL,               -- not to be tried before
    tries INTEGER NOT NULL,
    outcome VARCHAR                    -- NULL: not sent yet; '': sent; else why it was given up
);
