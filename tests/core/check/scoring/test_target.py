"""The target's metrics and their paired interval, and how its rows are read."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest
from tiny_run import write_rows

from finetop.core.check.scoring.packing import TokenSequence
from finetop.core.check.scoring.target import TargetRow, compare, read_rows
from finetop.core.errors import BadInput
from finetop.core.protocol.events import ItemScore
from finetop.core.recipe.schema import Target
from finetop.core.runtime.home import Home

if TYPE_CHECKING:
    from pathlib import Path


def row(number: int, tokens: int) -> TargetRow:
    return TargetRow(str(number), TokenSequence((0,) * (tokens + 3), 3), (0,), "gold", "hash")


def test_nats_are_per_token_of_all_answers_together():
    rows = [row(0, 10), row(1, 30)]
    base, tuned = (
        {item: ItemScore(item, 0, gold_log_prob=nats) for item, nats in zip("01", of_rows, strict=True)}
        for of_rows in ((-40.0, -40.0), (-10.0, -30.0))
    )
    result = compare("nats_per_token", rows, base, tuned)
    assert (result.base, result.tuned, result.rows) == (2.0, 1.0, 2)
    # Changes of -3 and -1/3 per token around -1, weighted by tokens: residuals -20 and 20 of 40.
    assert result.high - result.low == pytest.approx(2 * 1.959964 * math.sqrt(2 * 800) / 40)


def test_the_interval_covers_in_95_of_100_samples():
    rng = random.Random(2)
    covered = 0
    for _ in range(400):
        rows = [row(number, 5) for number in range(60)]
        base = {r.item: ItemScore(r.item, float(rng.random() < 0.3)) for r in rows}
        tuned = {
            item: ItemScore(item, 1.0 if rng.random() < 0.5 else old.score) for item, old in base.items()
        }
        result = compare("rules", rows, base, tuned)
        covered += result.low <= 0.35 <= result.high
    assert 365 <= covered <= 395


def test_rows_are_rendered_with_the_answer_alone_scored_and_tables_by_their_columns_and_labels(
    tiny_tokenizer, tmp_path
):
    row = {"prompt": "Where are you?", "completion": "We are behind the mill."}
    file = write_rows(tmp_path / "rows.jsonl", [row])
    (rendered,) = read_rows(Target(path=str(file)), tiny_tokenizer, Home(tmp_path), 500)
    scored = tiny_tokenizer.decode(rendered.sequence.tokens[rendered.sequence.scored_from :])
    assert scored.startswith("We are behind the mill.")
    assert tiny_tokenizer.decode(rendered.prompt).endswith("Where are you?<|end|>\n<|assistant|>")
    assert rendered.sequence.tokens[: rendered.sequence.scored_from] == rendered.prompt
    file = tmp_path / "rows.csv"
    file.write_text("review,sentiment\nA fine lamp.,1\nIt flickers.,0\n")
    columns = {"prompt": "Review: {review}", "completion": "sentiment"}
    target = Target(path=str(file), columns=columns, labels={"0": "bad", "1": "good"})
    read = read_rows(target, tiny_tokenizer, Home(tmp_path), 500)
    assert [row.gold for row in read] == ["good", "bad"]
    assert tiny_tokenizer.decode(read[0].prompt).endswith("Review: A fine lamp.<|end|>\n<|assistant|>")


def texts_file(tmp_path: Path, *texts: str) -> str:
    return str(write_rows(tmp_path / "texts.jsonl", [{"text": text} for text in texts]))


def test_texts_are_cut_into_windows_and_all_of_them_is_scored(tiny_tokenizer, tmp_path):
    texts = ("The shop opens at nine. " * 30, "We mend radios.")
    target = Target(path=texts_file(tmp_path, *texts))
    windows = read_rows(target, tiny_tokenizer, Home(tmp_path), 500, window=16)
    assert {row.text for row in windows} == {0, 1}
    assert all(len(row.sequence.tokens) <= 16 and row.sequence.scored_from == 1 for row in windows)
    for number, text in enumerate(texts):
        of_text = sorted((row for row in windows if row.text == number), key=lambda row: int(row.item[2:]))
        ids = [token for row in of_text for token in row.sequence.tokens]
        assert ids == tiny_tokenizer(text, add_special_tokens=False).input_ids[: len(ids)]
        assert len(ids) >= len(tiny_tokenizer(text, add_special_tokens=False).input_ids) - 1
    # A model that can read fewer tokens gets shorter windows.
    shorter = read_rows(target, tiny_tokenizer, Home(tmp_path), 8, window=16)
    assert max(len(row.sequence.tokens) for row in shorter) == 8


def test_of_more_windows_than_are_scored_every_text_has_some(tiny_tokenizer, tmp_path):
    target = Target(path=texts_file(tmp_path, "The shop opens at nine. " * 400, *["We mend radios."] * 50))
    windows = read_rows(target, tiny_tokenizer, Home(tmp_path), 500, window=4)
    assert len(windows) == 200
    assert {row.text for row in windows} == set(range(51))


@pytest.mark.parametrize("metric", ["exact_match", "token_f1", ("nats_per_token", "exact_match")])
def test_texts_can_be_asked_nothing(tiny_tokenizer, tmp_path, metric):
    target = Target(path=texts_file(tmp_path, "A b c."), metric=metric)
    with pytest.raises(BadInput, match="plain texts, which have no prompt") as refused:
        read_rows(target, tiny_tokenizer, Home(tmp_path), 500)
    assert "Set it to nats_per_token" in refused.value.hint
    assert "\n" not in str(refused.value)


def test_windows_of_several_texts_count_by_text():
    """Windows of a text that change alike are one observation, not ten."""
    rows = [
        TargetRow(f"{text}.{at}", TokenSequence((0,) * 11, 1), (), "", "hash", text)
        for text in range(12)
        for at in range(10)
    ]
    base, tuned = (
        {
            row.item: ItemScore(row.item, 0, gold_log_prob=-20.0 + by * (-1) ** (int(row.text or 0) + 1))
            for row in rows
        }
        for by in (0.0, 2.0)
    )
    result = compare("nats_per_token", rows, base, tuned)
    assert (result.base, result.tuned, result.rows, result.texts) == (2.0, 2.0, 120, 12)
    assert result.high - result.low == pytest.approx(2 * 1.959964 * math.sqrt(12 / 11 * 12 * 400) / 1200)
