"""Problems in data, found before a GPU is spent: every row is looked at once, by findings that are a file each.

    finetop lint -> python -m finetop.core.lint HOME  (reads lines, gathers what was seen, tells the report)
                      ├─ python -m finetop.core.lint.worker   (reads rows, counts tokens, asks each finding)
                      └─ python -m finetop.core.lint.worker

The first process reads lines, deals blocks of 256 of them to two workers in turn, and takes in what they saw in the
order of the rows, so that a report never depends on who was faster. A row lives in a worker for as long as its block
does: what a finding wants to remember of a row, its `look` gives as small plain data. Nothing else is kept, so that
5 GB stream.

A finding is a file of core/lint/findings, found by listing that folder:
- `ABOUT`: what it finds, as a heading ("answers that are empty"); `WHY`: why that matters, a sentence or two;
- `FIX`: what `--fix` does about it; "" where a person must decide;
- `DO`: what to do about it, said to a person, in a few words ("remove the copies");
- `SEVERITY`: "error" (training stops, or learns what nobody wants), "warning", or "note" (worth knowing; a report of
  notes alone is clean, exit 0);
- `look(row, lens)`: in a worker, of one row alone. None where there is nothing to see (most rows), else plain data for
  msgpack: numbers, texts, bytes, lists. `row` is a Row (row.py), `lens` a Lens: what is the same for every row. It is
  called for every row, those that could not be read too (`row.record` is None then, `row.fault` says why);
  Findings whose `look` is the same function share it: a row is looked at once, and each hears of it;
- `Finder`, where counting is not enough: a class made with `Finder(lens)` in the first process, which has
  - `take(at, seen)`: what `look` gave of row number `at` (from 0, over all sources), in order of the rows;
  - `finish(whole)`: give the Findings (report.py), none where all is well. `whole` is a Whole (second_pass.py): the
    number of rows, `place(at)`, `again(ats)` to read some rows once more, `say(phase, done, total)` for progress,
    what was asked for, and the report's `notes`.
    An example's text goes through `tally.example`, which masks secrets and cuts it;
  - `fixes(whole)`, where it has any: a Fix for each row that `--fix` changes; asked after `finish`, only with `--fix`;
  without one, `look` gives a list of Sights (tally.py), which are counted by kind, with the first of each as examples;
- `mend(raw)`: only where a Fix has the action "mend": the row with the damage repaired, or None to leave it;
- `OPTION = "loss"`: only found where that was asked for;
- `ONE_IS_MANY = True`: a single row is as bad as a hundred of another finding, and is told before them.

Rows of every source come in one sequence: those to train on ("train", "replay"), then "eval", then "test"; `row.role`
says which. `--only` and `--skip` leave out files by name; theirs are neither imported nor asked.
"""

from __future__ import annotations

from typing import Any

from finetop.core.plugins import PluginKind

FINDINGS: PluginKind[Any] = PluginKind("finding", f"{__name__}.findings")
names, load = FINDINGS.names, FINDINGS.load
