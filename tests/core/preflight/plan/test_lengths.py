"""Rows and tokens of a recipe's files: counted as the trainer would, or told from characters."""

from __future__ import annotations

import json

import pytest

from finetop.core.errors import BadInput
from finetop.core.preflight.plan import lengths
from finetop.core.recipe.load import resolve_text

TURNS = [
    {"role": "user", "content": "What opens at nine?"},
    {"role": "assistant", "content": "The shop. " * 3},
]


def recipe_of(objective="sft", **data):
    whole = {
        "recipe": 1,
        "name": "tiny",
        "method": {"name": "lora"},
        "objective": {"name": objective},
        "data": data,
        "check": {"general": None} if objective == "pretrain" else {},
    }
    return resolve_text(json.dumps(whole)).recipe


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"path": str(path)}


def test_characters_stand_for_tokens_where_there_is_no_tokenizer(tmp_path):
    source = write(tmp_path / "a.jsonl", [{"messages": TURNS}] * 20)
    found = lengths.measure(recipe_of(train=[source], eval={"share": 0.1}), None)
    assert found is not None
    each = 5 + 8 + 2 * 5  # 19 and 30 characters, four a token, and a template around two turns
    assert (found.rows, found.eval_rows, found.longest) == (18, 2, each)
    assert found.tokens == 18 * each
    assert found.how == "from characters"


def test_a_tokenizer_counts_nearly_what_the_trainer_counts(tmp_path, tiny_model):
    from transformers import AutoTokenizer

    rows = [
        {"messages": [TURNS[0], {"role": "assistant", "content": "clocks, lamps " * n}]} for n in range(1, 30)
    ]
    source = write(tmp_path / "a.jsonl", rows)
    found = lengths.measure(recipe_of(train=[source], eval={"share": 0}, max_tokens=1000), tiny_model)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    real = [
        len(tokenizer.apply_chat_template(row["messages"], return_dict=True)["input_ids"]) for row in rows
    ]
    assert found is not None
    assert found.how == "by its tokenizer"
    assert found.tokens == pytest.approx(sum(real), rel=0.1)
    assert found.longest == pytest.approx(max(real), rel=0.1)


def test_long_rows_are_cut_or_left_out_as_the_recipe_says(tmp_path):
    rows = [{"prompt": "a" * 40, "completion": "b" * 40}] * 3 + [{"prompt": "a", "completion": "b" * 4000}]
    source = write(tmp_path / "a.jsonl", rows)
    cut = lengths.measure(
        recipe_of(train=[source], eval={"share": 0}, max_tokens=64, on_long="truncate"), None
    )
    left = lengths.measure(recipe_of(train=[source], eval={"share": 0}, max_tokens=64, on_long="drop"), None)
    assert cut is not None and left is not None
    assert (cut.rows, cut.longest) == (4, 64)
    assert (left.rows, left.longest) == (3, 30)


def test_texts_are_cut_into_pieces_that_are_rows(tmp_path):
    source = write(tmp_path / "a.jsonl", [{"text": "x" * 4000}, {"text": "y" * 100}])
    found = lengths.measure(
        recipe_of("continued-pretraining", train=[source], eval={"share": 0}, max_tokens=300), None
    )
    assert found is not None
    assert (found.rows, found.tokens) == (5, 1025)


def test_both_answers_of_a_pair_are_read(tmp_path):
    source = write(tmp_path / "a.jsonl", [{"prompt": "q" * 40, "chosen": "c" * 40, "rejected": "r" * 80}])
    found = lengths.measure(recipe_of("dpo", train=[source], eval={"share": 0}), None)
    assert found is not None
    assert (found.rows, found.tokens, found.longest) == (1, (20 + 10) + (30 + 10), 40)


def test_a_share_is_of_all_rows(tmp_path):
    mine = write(tmp_path / "a.jsonl", [{"prompt": "q", "completion": "c"}] * 30)
    replay = {**write(tmp_path / "b.jsonl", [{"prompt": "q", "completion": "c"}] * 50), "share": 0.25}
    found = lengths.measure(recipe_of(train=[mine, {**replay, "role": "replay"}], eval={"share": 0}), None)
    assert found is not None
    assert found.rows == 40


def test_a_long_file_is_told_from_its_beginning(tmp_path, monkeypatch):
    monkeypatch.setattr(lengths, "MOST_ROWS", 10)
    source = write(tmp_path / "a.jsonl", [{"prompt": "q", "completion": "c"}] * 100)
    whole = lengths.measure(recipe_of(train=[source], eval={"share": 0}), None)
    few = lengths.measure(recipe_of(train=[{**source, "rows": 40}], eval={"share": 0}), None)
    assert whole is not None and few is not None
    assert (whole.rows, few.rows) == (100, 40)


def test_what_is_not_a_file_here_is_left_out_and_said(tmp_path):
    mine = write(tmp_path / "a.jsonl", [{"prompt": "q", "completion": "c"}] * 4)
    found = lengths.measure(recipe_of(train=[mine, {"id": "org/data"}], eval={"share": 0}), None)
    assert found is not None and not found.is_whole
    assert lengths.measure(recipe_of(train=[{"id": "org/data"}]), None) is None
    assert lengths.measure(recipe_of(train=[{"path": str(tmp_path / "gone.jsonl")}]), None) is None


def test_a_row_of_no_known_shape_names_its_place(tmp_path):
    source = write(tmp_path / "a.jsonl", [{"odd": 1}])
    with pytest.raises(BadInput, match=r"a\.jsonl:1"):
        lengths.measure(recipe_of(train=[source]), None)
