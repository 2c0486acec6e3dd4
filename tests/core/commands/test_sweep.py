"""`run --sweep --seeds` and `sweep` as typed: what is queued, how its runs are grouped, and the results."""

from __future__ import annotations

import json

import pytest

from finetop.core.protocol.messages.runs import Runs

RECIPE = "recipe: 1\nextends: lora\nname: tone\ncheck: {at_end: false}\ndata: {train: [{path: rows.jsonl}]}\n"


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 5)
    file = tmp_path / "tone.yaml"
    file.write_text(RECIPE)
    return str(file)


def test_a_sweep_over_rates_and_seeds_is_queued_run_and_told_of(rig, finetop, recipe):
    assert finetop("sweep")[1].startswith("No sweeps yet.")
    code, out, _ = finetop(
        "run", recipe, "--sweep", "train.learning_rate=1e-5,2e-5", "--seeds", "2", "--hold"
    )
    assert (code, out.splitlines()) == (
        0,
        [
            "tone-lr1e-5-s1 is queued, held",
            "tone-lr1e-5-s2 is queued, held",
            "tone-lr2e-5-s1 is queued, held",
            "tone-lr2e-5-s2 is queued, held",
            "4 runs in the sweep tone. Results: finetop sweep tone",
        ],
    )
    for name in ("tone-lr1e-5-s1", "tone-lr1e-5-s2", "tone-lr2e-5-s1"):
        finetop("queue", "release", name)
        rig.wait_state(name, "finished")
    rig.restart()
    code, out, _ = finetop("sweep", "tone")
    assert [line.split() for line in out.splitlines()[:3]] == [
        ["train.learning_rate", "done", "train", "loss", "target", "retained", "did", "it", "forget?"],
        ["1e-5", "2/2", "0.100", "±", "0.000", "-", "-"],
        ["2e-5", "1/2", "0.100", "-", "-"],
    ]
    assert finetop("sweep")[1].splitlines()[1].split() == ["tone", "4", "3", "1"]
    document = json.loads(finetop("sweep", "tone", "--json")[1])
    assert document["keys"] == ["train.learning_rate"]
    assert document["runs"][1]["values"] == {"train.learning_rate": "1e-5", "train.seed": "2"}
    assert document["runs"][1]["row"]["tags"] == ["sweep/tone"]
    assert "tone-lr2e-5-s2" in finetop("ls", "sweep/tone")[1]
    code, out, _ = finetop("run", recipe, "--seeds", "2", "--json", "--hold")
    assert json.loads(out)["sweep"] == "tone-2"
    assert [run["name"] for run in json.loads(out)["runs"]] == ["tone-s1", "tone-s2"]
    assert finetop("sweep", "ton")[::2] == (2, "finetop: there is no sweep 'ton'. Did you mean tone?\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--sweep", "method.rank=8,0"), "the run with 'method.rank=0': "),
        (("--sweep", "train.seed=1,2", "--seeds", "2"), "'train.seed' is swept twice"),
        (("--seeds", "51"), "--seeds is 51; it must be 1 to 50."),
        (("--seeds", "2", "--wait"), "--wait follows one run, not a sweep."),
        (("--sweep", "\x1b[31m"), "is not KEY=VALUE,VALUE"),
    ],
)
def test_a_wrong_sweep_queues_nothing_and_is_one_line(rig, finetop, recipe, words, says):
    code, out, err = finetop("run", recipe, *words)
    assert (code, out, says in err, err.count("\n")) == (2, "", True, 1), err
    assert "\x1b" not in err
    assert rig.ask(Runs()).total == 0
