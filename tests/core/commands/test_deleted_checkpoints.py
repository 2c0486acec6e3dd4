"""Checkpoints whose folders were deleted are neither listed nor taken by any command that names a step."""

import json
import shutil

import pytest

from finetop.core.protocol.messages.runs import GetRun


@pytest.fixture
def one(rig):
    """Return a run of two checkpoints, the earlier of which was deleted by hand."""
    name = rig.submit("one", steps=4, saved=[2, 4], best=2)
    rig.wait_state(name, "finished")
    delete(rig, name, 2)
    return name


def delete(rig, name, step):
    folder = rig.home.root / rig.ask(GetRun(name)).folder / "checkpoints" / f"step-{step:06d}"
    shutil.rmtree(folder)


def test_show_lists_what_is_on_disk(finetop, one):
    code, out, _ = finetop("show", one)
    assert code == 0 and "checkpoint 4:" in out and "checkpoint 2:" not in out and "best" not in out
    run = json.loads(finetop("show", one, "--json")[1])["run"]
    assert [saved["step"] for saved in run["checkpoints"]] == [4] and run["row"]["saved"] == 1


@pytest.mark.parametrize(
    "words",
    [
        ("export", "one@2", "--to", "new"),
        ("check", "one@2"),
        ("chat", "one@2", "--plain"),
        ("ask", "one@2", "Why?"),
        ("remedy", "one@2"),
        ("resume", "one@2"),
    ],
    ids=lambda words: words[0],
)
def test_a_deleted_step_is_refused_with_what_there_is(finetop, rig, one, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = finetop(*words)
    assert code == 2 and "It has 4." in err and err.count("\n") == 1
    assert {job.verb for job in rig.ask(GetRun(one)).jobs} == {"train"}, "nothing was queued"


def test_a_run_starts_from_a_checkpoint_on_disk(finetop, one, tmp_path):
    recipe = tmp_path / "next.yaml"
    text = "recipe: 1\nname: next\nextends: lora\nmodel: {id: 'run:one@2'}\ndata: {train: [{path: rows.jsonl}]}\n"
    recipe.write_text(text)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    code, _, err = finetop("run", str(recipe))
    assert code == 2 and "It has 4." in err


def test_without_a_step_the_newest_on_disk_is_taken(finetop, one, tmp_path):
    code, out, _ = finetop("export", one, "--to", str(tmp_path / "new"), "--json")
    assert code == 0 and json.loads(out)["step"] == 4


def test_without_any_left_it_is_to_be_trained_again(finetop, rig, one, tmp_path):
    delete(rig, one, 4)
    code, _, err = finetop("export", one, "--to", str(tmp_path / "new"))
    assert code == 2 and "this run's checkpoints were deleted. None is left: train it again." in err


def test_an_earlier_checkpoint_that_was_deleted_is_no_remedy(finetop, one):
    code, out, _ = finetop("remedy", one, "--list", "--json")
    rows = {row["name"]: row["why_not"] for row in json.loads(out)["remedies"]["rows"]}
    assert code == 0 and rows["checkpoint"] and "checkpoint-2" not in rows
