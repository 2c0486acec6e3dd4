-- Of a job's event lines that can't be read, the first is shown: where it is, and why.

ALTER TABLE jobs ADD COLUMN bad_line VARCHAR;
