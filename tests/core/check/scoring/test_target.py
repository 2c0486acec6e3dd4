"""The target's metrics and their paired interval, and how its rows are read."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from finetop.core.check.scoring.packing import TokenSequence
from finetop.core.check.scoring.target import TargetRow, compare, read_rows
from finetop.core.protocol.events import ItemScore
from finetop.core.recipe.schema import Target
from finetop.core.runtime.home import Home

if TYPE_CHECKING:
    from pathlib import Path


def row(number: int, tokens: int) -> TargetRow:
    return TargetRow(str(number), TokenSequence((0,) * (tokens + 3), 3), (0,), "gold", "hash")


def test_nats_are_per_token_of_all_answers_together() -> None:
    rows = [row(0, 10), row(1, 30)]
    base = {"0": ItemScore("0", 0, gold_log_prob=-40.0), "1": ItemScore("1", 0, gold_log_prob=-40.0)}
    tuned = {"0": ItemScore("0", 0, gold_log_prob=-10.0), "1": ItemScore("1", 0, gold_log_prob=-30.0)}
    found = compare("nats_per_token", rows, base, tuned)
    assert (found.base, found.tuned, found.rows) == (2.0, 1.0, 2)
    # Changes of -3 and -1/3 a token around -1, weighted by tokens: residuals -20 and 20 of 40.
    assert found.high - found.low == pytest.approx(2 * 1.959964 * math.sqrt(2 * 800) / 40)


def test_the_interval_covers_in_95_of_100_samples() -> None:
    rng = random.Random(2)
    covered = 0
    for _ in range(400):
        rows = [row(number, 5) for number in range(60)]
        base = {r.item: ItemScore(r.item, float(rng.random() < 0.3)) for r in rows}
        tuned = {
            item: ItemScore(item, 1.0 if rng.random() < 0.5 else old.score) for item, old in base.items()
        }
        found = compare("rules", rows, base, tuned)
        covered += found.low <= 0.35 <= found.high
    assert 365 <= covered <= 395


def test_rows_are_rendered_with_the_answer_alone_scored(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_model)
    file = tmp_path / "rows.jsonl"
    file.write_bytes(
        msgspec.json.encode({"prompt": "Where are you?", "completion": "We are behind the mill."})
    )
    (found,) = read_rows(Target(path=str(file)), tokenizer, Home(tmp_path), 500)
    scored = tokenizer.decode(found.sequence.tokens[found.sequence.scored_from :])
    assert scored.startswith("We are behind the mill.")
    assert tokenizer.decode(found.prompt).endswith("Where are you?<|end|>\n<|assistant|>")
    assert found.sequence.tokens[: found.sequence.scored_from] == found.prompt


def test_rows_of_a_table_are_read_by_the_target_s_columns_and_labels(
    tiny_model: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_model)
    file = tmp_path / "rows.csv"
    file.write_text("review,sentiment\nA fine lamp.,1\nIt flickers.,0\n")
    target = Target(
        path=str(file),
        columns={"prompt": "Review: {review}", "completion": "sentiment"},
        labels={"0": "bad", "1": "good"},
    )
    found = read_rows(target, tokenizer, Home(tmp_path), 500)
    assert [row.gold for row in found] == ["good", "bad"]
    assert tokenizer.decode(found[0].prompt).endswith("Review: A fine lamp.<|end|>\n<|assistant|>")
