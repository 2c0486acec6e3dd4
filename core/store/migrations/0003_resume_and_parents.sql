-- A run may go on from a checkpoint, may begin at another run's, and may wait for that run to end.

ALTER TABLE checks ADD COLUMN superseded BOOLEAN DEFAULT false;  -- of a checkpoint that a resumed run has left behind
UPDATE checks SET superseded = false;

CREATE TABLE parents (
    run_id INTEGER NOT NULL,
    parent_id INTEGER NOT NULL,
    setting VARCHAR NOT NULL,         -- of the recipe: model.id, objective.reward.model …
    step INTEGER                      -- of the parent's checkpoint; NULL: known when the parent has finished
);
