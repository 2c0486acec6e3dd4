-- Several checks may come from one job: a training job checks on its way. A check's id is a number of its own.

ALTER TABLE checks ADD COLUMN job_id INTEGER;
ALTER TABLE checks ADD COLUMN claim INTEGER DEFAULT 0;      -- 0: the run's only one; k: the k-th checkpoint's
ALTER TABLE checks ADD COLUMN watch BOOLEAN DEFAULT false;  -- a look that claims nothing
UPDATE checks SET job_id = id, claim = 0, watch = false;

ALTER TABLE item_scores ADD COLUMN step INTEGER;            -- NULL: of the job's one check, or of the base
ALTER TABLE runs ADD COLUMN best VARCHAR;                   -- JSON: finetop.core.run.Best, the checkpoint to keep
