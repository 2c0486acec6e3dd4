"""`run --sweep --seeds` and `sweep` as typed: what is queued, how its runs are grouped, and the results."""

import json

import pytest
from rig import write_recipe
from typed import refuses

from finetop.core.protocol.messages.runs import Runs


@pytest.mark.slow
def test_a_sweep_over_rates_and_seeds_is_queued_run_and_told_of(rig, finetop, tmp_path):
    assert finetop("sweep")[1].startswith("No sweeps yet.")
    recipe = str(write_recipe(tmp_path, "tone"))
    wrong_words_queue_nothing(rig, finetop, recipe)
    swept = ("--sweep", "train.learning_rate=1e-5,2e-5")
    code, out, _ = finetop("run", recipe, *swept, "--seeds", "2", "--hold")
    names = ["tone-lr1e-5-s1", "tone-lr1e-5-s2", "tone-lr2e-5-s1", "tone-lr2e-5-s2"]
    last = "4 runs in the sweep tone. Results: finetop sweep tone"
    assert (code, out.splitlines()) == (0, [*(f"{name} is queued, held" for name in names), last])
    for name in names[:3]:
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


def wrong_words_queue_nothing(rig, finetop, recipe):
    cases = {
        "--sweep method.rank=8,0": "the run with 'method.rank=0': ",
        "--sweep train.seed=1,2 --seeds 2": "'train.seed' is swept twice",
        "--seeds 51": "--seeds is 51; it must be 1 to 50.",
        "--seeds 2 --wait": "--wait follows one run, not a sweep.",
        "--sweep \x1b[31m": "is not KEY=VALUE,VALUE",
    }
    refuses(finetop, cases, "run", recipe)
    assert rig.ask(Runs()).total == 0
