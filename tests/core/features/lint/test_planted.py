"""Some planted defects are found in real data (FINETOP_TEST_DATA), and sound rows pass; all: bench/planted.py."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from lint_run import findings_in
from tiny_run import chat as row

DATA = Path(os.environ.get("FINETOP_TEST_DATA", "/nonexistent"))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="FINETOP_TEST_DATA names no folder of data sets")


def test_a_copy_a_contradiction_a_leak_and_an_item_are_found_among_sound_rows(tmp_path):
    def read(name: str, count: int) -> list[dict]:
        return [json.loads(line) for line in (DATA / name).read_text().splitlines()[:count]]

    train, tests = read("gsm8k_sft/train.jsonl", 150), read("gsm8k/dev.jsonl", 100)
    item = read("arc_easy/open.jsonl", 1)[0]["question"]
    rows = [row(entry["question"], entry["answer"]) for entry in train]
    rows.append(row("Quick question. " + train[5]["question"].replace("the", "teh", 1), train[5]["answer"]))
    rows.append(row(train[9]["question"].upper(), train[10]["answer"]))
    rows.append(row(tests[7]["question"] + " Thanks!", "It is 12."))
    rows.append(row(f"Question: {item.lower()}\nAnswer:", "B"))
    findings = findings_in(
        tmp_path,
        *rows,
        test=tuple(row(entry["question"], entry["answer"]) for entry in tests),
        only=("duplicates", "near-duplicates", "conflicts", "leaks", "contamination"),
        against=(str(DATA / "arc_easy" / "open.jsonl"),),
        workers=1,
    )
    assert {name: finding.places for name, finding in findings.items()} == {
        "near-duplicates": ("a.jsonl:151",),
        "conflicts": ("a.jsonl:10", "a.jsonl:152"),
        "leaks": ("a.jsonl:153",),
        "contamination": ("a.jsonl:154",),
    }
