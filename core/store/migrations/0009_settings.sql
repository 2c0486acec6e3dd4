-- The settings of each run's recipe as rows, so that a list is filtered, sorted and grouped by one without reading recipes.

CREATE TABLE settings (
    run_id INTEGER NOT NULL,
    key VARCHAR NOT NULL,             -- dotted: train.learning_rate
    word VARCHAR NOT NULL,
    number DOUBLE                     -- NULL where it is none
);
