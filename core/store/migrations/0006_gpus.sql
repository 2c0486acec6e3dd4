-- Which GPUs a job has, so that a new supervisor knows it; and what befell one of them meanwhile.

ALTER TABLE jobs ADD COLUMN gpus VARCHAR DEFAULT '[]';   -- JSON: list of finetop.core.run.Share, of the last attempt
ALTER TABLE jobs ADD COLUMN gpu_fault VARCHAR DEFAULT '';  -- in words; empty where they are well
UPDATE jobs SET gpus = '[]', gpu_fault = '';
