"""`finetop select RECIPE --curve` as typed: the runs it queues, and what it refuses."""

import json

import pytest
from typed import refuses

from finetop.core.commands import select as commands
from finetop.core.errors import BadInput
from finetop.core.protocol.messages.runs import GetRun, Sweeps
from finetop.core.runtime.home import Home
from finetop.core.select import _curve as curve

RECIPE = (
    "recipe: 1\nextends: lora\nname: tone\ncheck: {at_end: false}\n"
    "data: {train: [{path: rows.jsonl}], eval: {share: 0.1}}\n"
    "train: {epochs: 2, batch_size: 2, grad_accumulation: 2}\n"
)


def test_amounts_that_can_t_be():
    for text in ("1/0", "2/1", "0", ""):
        with pytest.raises(BadInput, match=f"'{text}' is not a number of rows"):
            curve.amounts_of(text)
    with pytest.raises(BadInput, match="with all rows there is nothing to choose"):
        curve.amounts_of("all")


def test_a_curve_is_queued_as_one_sweep_and_told_of(rig, finetop, tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "SAY_EVERY_S", 1e9)  # no progress lines, which a slow machine would print
    rows = [{"prompt": f"question {n}", "completion": "word " * (n % 7 + 1)} for n in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(run) + "\n" for run in rows))
    recipe = tmp_path / "tone.yaml"
    recipe.write_text(RECIPE)
    words = "--curve --by length,no-near-duplicates --rows 1/4,all --seeds 2 --hold"
    code, out, err = finetop("select", str(recipe), *words.split())
    assert (code, err) == (0, ""), err
    assert out == "6 runs in the sweep tone, 18 steps each. Results: finetop select --show tone\n"
    reply = rig.ask(Sweeps("tone"))
    assert reply.keys == ["select.by", "rows"]
    assert [tuple(run.values.values()) for run in reply.runs] == [
        ("random,no-near-duplicates", "10", "1"), ("random,no-near-duplicates", "10", "2"),
        ("length", "10", "1"), ("length", "10", "2"), ("all", "40", "1"), ("all", "40", "2"),
    ]  # fmt: skip
    wanted = ["sweep/tone", "select.by/random", "select.by/no-near-duplicates", "rows/10"]
    assert reply.runs[0].row.tags == wanted
    recipes = [rig.ask(GetRun(run.row.name)).recipe for run in reply.runs]
    assert {(run["train"]["max_steps"], run["train"]["epochs"]) for run in recipes} == {(18, None)}
    paths = [run["data"]["train"][0]["path"] for run in recipes]
    assert paths[-1] == str(tmp_path / "rows.jsonl") and paths[2] == paths[3] != paths[0]
    finetop("queue", "release", reply.runs[0].row.name)
    rig.wait_state(reply.runs[0].row.name, "finished")
    code, out, _ = finetop("select", "--show", "tone")
    wanted = [["random", "10", "1/2"], ["length", "10", "0/2"]]
    assert [line.split()[:3] for line in out.splitlines()[1:3]] == wanted
    assert "Would more rows help? Not known" in out
    assert json.loads(finetop("sweep", "tone", "--json")[1])["curves"]["metric"] == "evaluation loss"


def test_a_recipe_that_a_curve_can_t_take_is_one_line(finetop_of, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 5)
    for train, says in {
        "[{path: rows.jsonl}, {path: rows.jsonl}]": "data.train has 2 sources to select from, but a curve needs one.",
        "[{id: org/name}]": "'org/name' is not a file; rows are selected from the lines of a file.",
        "[{path: rows.jsonl, rows: 5}]": "data.train[0].rows is set, but a curve sets it.",
    }.items():
        (tmp_path / "tone.yaml").write_text(RECIPE.replace("[{path: rows.jsonl}]", train))
        refuses(finetop_of(Home(tmp_path / "home")), {f"{tmp_path}/tone.yaml --curve": says}, "select")
    assert not (tmp_path / "home").exists(), "no supervisor was asked"
