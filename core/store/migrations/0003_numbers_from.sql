ALTER TABLE jobs ADD COLUMN numbers_from VARCHAR;  -- JSON: finetop.core.protocol.events.NumbersFrom, of another program
