ALTER TABLE data_sources ADD COLUMN system VARCHAR;  -- of more than half of the rows; NULL: read by an older finetop
