"""Defects planted into real data: how many of them lint finds, and how much of the sound data it flags.

    FINETOP_TEST_DATA=… python tests/bench/planted.py --model FOLDER [--sets report|tune|NAME…] [--kinds NAME…]
                                                      [--seed 1] [--count 50] [--misses 3] [--clean-only]

Into each set, 50 of each kind are planted at random places, one kind at a time, in their usual form ("verbatim") and
lightly edited (edits.py, defects.py), and the whole lint runs on it: all findings, with a recipe on the model's
tokenizer, rows of at most 1024 tokens, cut. A planted row counts as found if the finding for its kind names it, or its
original. Rows of the sound set that a finding above a note names without anything planted are false alarms; so are
other rows that are named only after something else was planted ("more").

A defect that nobody can see is not planted, and another row is used: of cut answers of 15 words or more, those left
with fewer list entries, or with fewer words in an entry that is no sentence (of 100 cuts none in kb_contoso and
json_mode, 4 to 5 in medquad, 14 to 15 in self_instruct; 28 in tatqa, 30 to 39 in gsm8k_sft); of contradictions, those
that say the same in another word (yes, true).

Thresholds were chosen on the sets of `tune`, and for open-ended prompts on dpo_en_demo (whose two answers per prompt
are no contradiction), with other seeds; misses on the sets of `report` with other seeds were inspected too. The
authoritative numbers are those of `report` with seed 1.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bench
import edits
from defects import KINDS, Bed, Planted

from finetop.core.data.files import read_rows
from finetop.core.features.lint import lint
from finetop.core.features.lint.report import LintRequest
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime.home import Home

if TYPE_CHECKING:
    from collections.abc import Sequence

SETS = {  # training rows, test rows
    "kb_contoso": ("kb_contoso/qa_train.jsonl", "kb_contoso/qa_test.jsonl"),
    "json_mode": ("json_mode/train.jsonl", "json_mode/valid.jsonl"),
    "medquad": ("medquad/train.jsonl", "medquad/test.jsonl"),
    "self_instruct": ("self_instruct/train.jsonl", "self_instruct/test.jsonl"),
    "gsm8k_sft": ("gsm8k_sft/train.jsonl", "gsm8k/dev.jsonl"),
    "tatqa": ("tatqa/train.jsonl", "tatqa/test.jsonl"),
    "support_tickets": ("support_tickets/train.jsonl", "support_tickets/test.jsonl"),
    "pubmedqa_sft": ("pubmedqa_sft/train.jsonl", "pubmedqa_sft/valid.jsonl"),
}
REPORT = ("kb_contoso", "json_mode", "medquad", "self_instruct")
TUNE = ("gsm8k_sft", "tatqa", "support_tickets", "pubmedqa_sft")
BENCHMARKS = {  # question, answer
    "arc_easy": ("question", None),
    "piqa": ("goal", "sol1"),
    "gsm8k": ("question", "answer"),
    "mmlu": ("question", None),
    "hellaswag": ("query", None),
    "boolq": ("question", None),
    "triviaqa": ("question", "answer"),
    "openbookqa": ("question_stem", None),
    "lambada_openai": ("text", None),
    "winogrande": ("sentence", "option1"),
    "humaneval": ("prompt", "canonical_solution"),
    "wikidata_mc": ("context", None),
}
RECIPE = """
recipe: 1
name: planted
model: {{id: {model}}}
method: {{name: lora}}
train: {{epochs: 1}}
data: {{train: [{{path: {train}}}], max_tokens: 1024, on_long: truncate}}
check: {{target: {{path: {test}}}}}
"""


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows = read_rows(path)
    for row in rows:  # rows of a benchmark become rows to train on
        if "messages" not in row and "instruction" not in row:
            turns = (("user", row["question"]), ("assistant", row["answer"]))
            row["messages"] = [{"role": role, "content": text} for role, text in turns]
    return rows


def benchmark_items(data: Path) -> list[tuple[str, str]]:
    items = []
    for name, (question, reply) in BENCHMARKS.items():
        rows = read_rows(data / name / "open.jsonl")
        items += [(row[question], str(row.get(reply, "")) if reply else "") for row in rows[:200]]
    return items


def odd_words(data: Path) -> tuple[str, ...]:
    """Return words of web pages: if there were only a few odd words, each would be common after a few plantings."""
    texts = " ".join(row["text"] for row in read_rows(data / "c4_demo" / "train.jsonl"))
    return tuple(sorted(set(re.findall(r"\b[a-z]{4,9}\b", texts))))


class Linter:
    """Lints files of one set in this process, and records the named rows."""

    def __init__(self, data: Path, model: str, tests: list[dict[str, Any]], folder: Path) -> None:
        self.data, self.model, self.folder = data, model, folder
        self.test = folder / "test.jsonl"
        self.test.write_text("".join(json.dumps(row) + "\n" for row in tests), encoding="utf-8")

    def named(self, lines: Sequence[str], only: tuple[str, ...] = ()) -> dict[str, set[int]]:
        """Return the numbers of the rows, from 0, that each finding names; only those of `only`, if given."""
        file = self.folder / "train.jsonl"
        file.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        recipe = resolve_text(RECIPE.format(model=self.model, train=file, test=self.test))
        against = tuple(str(self.data / name / "open.jsonl") for name in BENCHMARKS)
        request = LintRequest(recipe=recipe.resolved, against=against, only=only, workers=1)
        report = lint.run(request, Home(self.folder / "home"), lambda *_: None)
        rows_by_finding: dict[str, set[int]] = {}
        for finding in report.findings:
            if finding.severity != "note":
                places = [place for place in finding.places if place.startswith("train.jsonl:")]
                rows_by_finding.setdefault(finding.name, set()).update(
                    int(place.split(":")[1]) - 1 for place in places
                )
        return rows_by_finding


def planted_into(
    bed: Bed, plant: Any, count: int, rng: random.Random, is_edited: bool
) -> tuple[list[str], dict[int, Planted], dict[int, int]]:
    """Plant defects: return all lines, the planted ones by number, and the new place of each row of the set."""
    order = rng.sample(range(len(bed.rows)), len(bed.rows))
    planted_rows: list[Planted] = []
    while len(planted_rows) < count and order:
        at = order.pop()
        defect = plant(bed, at, rng, is_edited)
        if defect is not None:
            defect.base = at
            planted_rows.append(defect)
    places = sorted(rng.sample(range(len(bed.rows) + len(planted_rows)), len(planted_rows)))
    planted = dict(zip(places, rng.sample(planted_rows, len(planted_rows)), strict=True))
    lines, now, rows = [], {}, iter(enumerate(bed.rows))
    for number in range(len(bed.rows) + len(planted_rows)):
        if number in planted:
            lines.append(planted[number].line)
        else:
            at, row = next(rows)
            now[at] = number
            lines.append(json.dumps(row, ensure_ascii=False))
    return lines, planted, now


def measure(name: str, args: argparse.Namespace, data: Path) -> None:
    train, test = SETS[name]
    bed = Bed(rows_of(data / train), rows_of(data / test), benchmark_items(data))
    with tempfile.TemporaryDirectory() as folder:
        linter = Linter(data, args.model, bed.tests, Path(folder))
        began = time.monotonic()
        clean = linter.named([json.dumps(row, ensure_ascii=False) for row in bed.rows])
        flagged = set().union(*clean.values())
        share = 100 * len(flagged) / len(bed.rows)
        summary = ", ".join(f"{finding} {len(rows)}" for finding, rows in sorted(clean.items()))
        print(f"\n{name}: {len(bed.rows)} rows; named without anything planted: {len(flagged)} ({share:.1f} %): "
              f"{summary}  [{time.monotonic() - began:.0f} s]")  # fmt: skip
        if args.show_clean:
            for finding, rows in sorted(clean.items()):
                for at in sorted(rows)[: args.show_clean]:
                    print(f"    {finding} {at + 1}: {json.dumps(bed.rows[at], ensure_ascii=False)[:400]}")
        for kind in args.kinds if not args.clean_only else ():
            plant, findings = KINDS[kind]
            before = set().union(*(clean.get(finding, set()) for finding in findings))
            cells = []
            for is_edited in (False, True):
                seed = f"{args.seed} {name} {kind} {is_edited}"
                lines, planted, now = planted_into(bed, plant, args.count, random.Random(seed), is_edited)
                if not planted:
                    cells.append("      -      ")
                    continue
                named_rows = linter.named(lines, findings if args.alone else ())
                named = set().union(*(named_rows.get(finding, set()) for finding in findings))
                hits = {
                    at
                    for at, defect in planted.items()
                    if at in named
                    or any(now[partner] in named and partner not in before for partner in defect.partners)
                }
                known = {now[at] for at in flagged}
                bases = {now[at] for defect in planted.values() for at in (defect.base, *defect.partners)}
                more = set().union(*named_rows.values()) - known - bases - planted.keys()
                cells.append(
                    f"{100 * len(hits) / len(planted):5.0f} % of {len(planted):2} (more: {len(more)})"
                )
                misses = [planted[at] for at in sorted(planted.keys() - hits)]
                for defect in misses[: args.misses]:
                    print(
                        f"    missed {kind} {'edited' if is_edited else 'verbatim'}: "
                        f"{defect.what} | {defect.line[-260:]}"
                    )
                counts = Counter(defect.what for defect in misses)
                if misses and args.misses:
                    print(f"    all missed: {dict(counts.most_common(12))}")
            print(f"  {kind:14} verbatim {cells[0]}   edited {cells[1]}", flush=True)


def main() -> None:
    args = bench.options(
        __doc__, model={"required": True}, sets={"nargs": "+", "default": ["report"]},
        kinds={"nargs": "+", "default": list(KINDS)}, seed=1, count=50,
        misses=(0, "show so many that were missed, of each kind"),
        show_clean=(0, "show so many rows that are named, of each finding"), clean_only=False,
        alone=(False, "lint by the findings for a kind alone: faster"),
    )  # fmt: skip
    data = bench.data_folder()
    edits.ODD_WORDS = odd_words(data)
    groups = {"report": REPORT, "tune": TUNE}
    for name in [one for word in args.sets for one in groups.get(word, (word,))]:
        measure(name, args, data)


if __name__ == "__main__":
    main()
