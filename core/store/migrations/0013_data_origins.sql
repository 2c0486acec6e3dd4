-- Where a source's rows were taken from, as the manifest beside it told; and the file itself, by which a manifest knows it.

ALTER TABLE data_sources ADD COLUMN sha256 VARCHAR DEFAULT '';
ALTER TABLE data_sources ADD COLUMN origin VARCHAR;    -- JSON: finetop.core.versions.origins.Origin
