"""Tokens are counted as training counts them: the same template, the same tokens, the same labels, the same cut."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tiny_run import chat

from finetop.core.data import formats
from finetop.core.data.files import stream_rows
from finetop.core.data.sources import Row as TrainRow
from finetop.core.errors import FinetopError
from finetop.core.features.lint import row as rows
from finetop.core.features.lint.row import Lens, Row
from finetop.core.features.lint.row_tokens import Meter
from finetop.core.models.fast_tokenizer import LightTokenizer
from finetop.core.models.load import PLAIN_TEMPLATE, load_tokenizer
from finetop.core.models.resolved import ResolvedModel
from finetop.core.train import objectives

DATA = Path(os.environ.get("FINETOP_TEST_DATA", "/nonexistent"))
THINKS = (  # drops the thoughts of earlier answers, and trims: the answer is not a plain part of it
    "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' and not loop.last and '</think>' in m.content %}"  # noqa: E501
    "{{ m.content.split('</think>')[-1] | trim }}{% else %}{{ m.content | trim }}{% endif %}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
THOUGHT = chat("a", " <think>x</think> b ")
ROWS: dict[str, list[dict[str, Any]]] = {
    "sft": [
        chat("Where?", "In the old mill, ünder 🙂."),
        {
            "messages": [
                {"role": "system", "content": ""},
                *THOUGHT["messages"],
                *chat("c", "\n\nd")["messages"],
            ]
        },
        {
            "conversations": [
                {"from": "human", "value": "How far?"},
                {"from": "function_call", "value": '{"name": "far", "arguments": {"to": "mill"}}'},
            ],
            "tools": '[{"name": "far"}]',
        },
    ],
    "dpo": [{"prompt": "Where?", "chosen": "In the mill.", "rejected": "In the moon, I think."}],
    "kto": [{"prompt": "Where?", "completion": "In the mill.", "label": True}],
    "continued-pretraining": [{"text": "The shop opens at nine. " * 9}],
    "grpo": [{"prompt": "What opens at nine?", "answer": "The shop."}],
}
SETS = {
    "json_mode/train.jsonl": "sft",
    "glaive_toolcall_en_demo/train.jsonl": "sft",
    "gsm8k_sft/train.jsonl": "sft",
    "dpo_en_demo/train.jsonl": "dpo",
    "kto_en_demo/train.jsonl": "kto",
}


def read(raws: list[dict[str, Any]], objective: str) -> list[Row]:
    kinds = objectives.load(objective).rows
    return [
        rows.read(raw, rows.format_of(raw, kinds), kinds, number, 0, number + 1, f"a:{number + 1}", "train")
        for number, raw in enumerate(raws)
    ]


def expected(read_rows: list[Row], objective: str, tokenizer: Any, most: int, cut: bool) -> list[Any]:
    """Return what training makes of each row, with its own code and transformers' tokenizer."""
    module = objectives.load(objective)
    counts: list[Any] = []
    for row in read_rows:
        assert row.record is not None
        train_row = TrainRow(row.place, row.record)
        try:
            (examples,) = module.examples([train_row], module.options(), tokenizer, most)
        except FinetopError as error:
            counts.append(error.message)
            continue
        kept = [example.cut(most) for example in examples if cut or example.tokens <= most]
        learned = (sum(example.answer_tokens for example in some) for some in (examples, kept))
        counts.append((sum(example.tokens for example in examples), *learned))
    return counts


def counted(measured: list[Row]) -> list[Any]:
    counts = ((row.tokens, row.learned, row.kept) for row in measured)
    return [
        f"{row.place}: {row.refused}" if row.refused else own
        for row, own in zip(measured, counts, strict=True)
    ]


@pytest.mark.parametrize("template", [None, THINKS, PLAIN_TEMPLATE, "{{ raise_exception('no') }}"])
@pytest.mark.parametrize("objective", list(ROWS))
def test_counts_are_those_of_training(objective: str, template: str | None, tiny_model: Path) -> None:
    tokenizer = load_tokenizer(ResolvedModel("tiny", tiny_model, None, None, "", "", chat_template=template))
    light = LightTokenizer(tiny_model, template)
    given = read(ROWS[objective], objective)
    for most, on_long in ((10_000, "drop"), (24, "truncate"), (24, "drop")):
        lens = Lens(objective=objective, max_tokens=most, on_long=on_long, has_tokenizer=True)
        measured = Meter(lens, light, objectives.load(objective).options()).measure(given)
        assert counted(measured) == expected(given, objective, tokenizer, most, on_long == "truncate")


@pytest.mark.skipif(not DATA.is_dir(), reason="FINETOP_TEST_DATA names no folder of data sets")
@pytest.mark.parametrize("file", list(SETS))
def test_counts_are_those_of_training_on_real_rows(file: str, tiny_model: Path) -> None:
    objective = SETS[file]
    tokenizer = load_tokenizer(ResolvedModel("tiny", tiny_model, None, None, "", ""))
    given = read([raw for _, raw in islice(stream_rows(DATA / file), 12)], objective)
    lens = Lens(objective=objective, max_tokens=300, on_long="truncate", has_tokenizer=True)
    measured = Meter(lens, LightTokenizer(tiny_model), objectives.load(objective).options()).measure(given)
    assert counted(measured) == expected(given, objective, tokenizer, 300, cut=True)


def test_without_a_tokenizer_four_characters_are_a_token() -> None:
    (row,) = Meter(Lens(), None).measure(read([{"text": "x" * 400}], "continued-pretraining"))
    assert (row.tokens, row.learned) == (105, 101)
    assert isinstance(row.record, formats.Text)
