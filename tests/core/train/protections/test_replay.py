"""Replay: rows of a file at their share, and rows that the base generates, which are saved and read again."""

import json

import msgspec
import pytest
from tiny_run import of, write_rows

from finetop.core.data.examples import IGNORED
from finetop.core.protocol.events import Planned
from finetop.core.recipe.protections import chosen
from finetop.core.runtime.event_log import EventLog
from finetop.core.train import objectives
from finetop.core.train.protections import Base, replay

SHORT = {"train": {"max_steps": 1, "grad_accumulation": 1}}


def planned(run):
    (event,) = of(Planned, run.told)
    return event


def test_rows_of_a_file_get_their_share(train, home):
    rows = [{"prompt": f"Say {n}.", "completion": f"{n}."} for n in range(20)]
    file = write_rows(home.root.parent / "general.jsonl", rows)
    run = train({"replay": {"path": str(file), "share": 0.25}}, **SHORT)
    plan = planned(run)
    assert plan.rows == 24 + 8
    assert (plan.steps, plan.epochs) == (1, 4 / 32), "one step of four rows is no whole epoch"
    assert "general.jsonl: 20 rows, 20 kept" in run.log


@pytest.mark.parametrize("prompts", [True, False])
def test_the_base_writes_rows_that_are_learned_from_where_it_spoke(train, home, prompts):
    options = {"from_base": 6, "share": 0.2, "max_new_tokens": 5}
    if prompts:
        file = home.root.parent / "prompts.jsonl"
        file.write_text('{"prompt": "Where is the mill?"}\n{"prompt": "What is open?"}\n')
        options["prompts"] = str(file)
    run = train({"replay": options}, **SHORT)
    assert planned(run).rows == 24 + 6
    assert "the base generated 6 rows of 6" in run.log
    made = replay.read(run.folder / replay.FILE)
    again = train({"replay": options}, **SHORT)
    assert replay.read(again.folder / replay.FILE) == made
    assert len({tuple(example.input_ids) for example in made}) > 2
    for example in made:
        asked = example.labels.count(IGNORED)
        assert 0 < asked < example.tokens <= asked + 5
        assert example.labels[asked:] == example.input_ids[asked:]
    texts = [json.loads(line)["text"] for line in (run.folder / replay.FILE).read_text().splitlines()]
    assert all(text.startswith("<|user|>") and "<|assistant|>" in text for text in texts)
    questions = {text.partition("<|end|>")[0] for text in texts}
    assert not prompts or questions == {"<|user|>Where is the mill?", "<|user|>What is open?"}


def test_a_file_that_is_there_is_read_and_not_written_anew(recipe_of, home, tmp_path):

    recipe = recipe_of({"replay": {"from_base": 2, "share": 0.5}})
    row = replay.Written("ab", [7, 8, 9], 1)
    (tmp_path / replay.FILE).write_bytes(msgspec.json.encode(row) + b"\n")
    no_model = None  # the model is not used
    base = Base(recipe, no_model, no_model, objectives.load("sft"), tmp_path, home, EventLog(tmp_path / "e"))
    made = replay.PLUGIN.rows(chosen(recipe)["replay"], base, [])
    assert made == []  # a share of no rows is no rows
    given = replay.read(tmp_path / replay.FILE)
    assert replay.PLUGIN.rows(chosen(recipe)["replay"], base, given * 3) == given * 6


def test_plain_texts_begin_with_nothing(train, home):
    rows = [{"text": f"The shop number {n} is open."} for n in range(8)]
    file = write_rows(home.root.parent / "texts.jsonl", rows)
    run = train(
        {"replay": {"from_base": 2, "share": 0.2, "max_new_tokens": 4}},
        objective={"name": "continued-pretraining", "packing": False},
        data={"train": [{"path": str(file)}]},
        **SHORT,
    )
    assert all(IGNORED not in example.labels for example in replay.read(run.folder / replay.FILE))


def test_no_more_rows_are_written_than_the_share_asks_for():
    assert [replay.needed(0.2, rows) for rows in (0, 12, 24, 1000)] == [1, 3, 6, 250]
