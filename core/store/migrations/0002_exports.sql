CREATE TABLE exports (                    -- finetop.core.protocol.events.ExportJudged
    run_id INTEGER NOT NULL,
    step INTEGER NOT NULL,                -- of the checkpoint that was exported
    folder VARCHAR NOT NULL,
    name VARCHAR NOT NULL,                -- of the file in it
    job_id INTEGER NOT NULL,
    time DOUBLE NOT NULL,
    file VARCHAR NOT NULL                 -- JSON: finetop.core.protocol.exports.ExportedFile
);
