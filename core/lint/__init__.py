"""Problems in data, found before a GPU is spent: every row is looked at once, by findings that are a file each.

    finetop lint -> python -m finetop.core.lint HOME  (reads lines, gathers what was seen, tells the report)
                      ├─ python -m finetop.core.lint.worker   (reads rows, counts tokens, asks each finding)
                      └─ python -m finetop.core.lint.worker

The first process reads lines, deals blocks of 256 of them to two workers in turn, and takes in what they saw in the
order of the rows, so that a report never depends on who was faster. A row lives in a worker for as long as its block
does: what a finding wants to remember of a row, its `look` gives as small plain data. Nothing else is kept, so that
5 GB stream.

Rows of every source come in one sequence: those to train on ("train", "replay"), then "eval", then "test"; `row.role`
says which. `--only` and `--skip` leave out files by name; theirs are neither imported nor asked.
"""
