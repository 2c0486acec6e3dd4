"""`finetop import` and `finetop check --model`, with the real supervisor, jobs and scorer on a tiny model."""

import json
import shutil

import pytest
from made_elsewhere import save_adapter
from rig import REAL, Rig
from typed import refuses

from finetop.core.runtime.home import Home


@pytest.fixture
def finetop(tmp_path, finetop_of, monkeypatch, warm):
    """Run one command in the test's folder."""
    home = Home(tmp_path / "home")
    for name, value in (("HF_HUB_OFFLINE", "1"), ("OMP_NUM_THREADS", "1"), ("CUDA_VISIBLE_DEVICES", "")):
        monkeypatch.setenv(name, value)
    command = finetop_of(home)
    monkeypatch.chdir(tmp_path)
    rig = Rig(home, settings="settings: 1\n", program=REAL)
    rig.up()
    yield command
    rig.stop_all()


@pytest.fixture
def trainer_folder(tiny_model, tmp_path):
    """A Trainer's output folder with two checkpoints and a log of 20 steps."""
    folder = tmp_path / "tone"
    folder.mkdir()
    for step, weight in ((10, 0.0), (20, 0.1)):
        save_adapter(tiny_model, folder / f"checkpoint-{step}", weight)
        log = [
            {"step": at, "loss": 3.0 - at / 10, "learning_rate": 1e-4, "epoch": at / 20}
            for at in range(1, step + 1)
        ]
        log.append({"step": step, "eval_loss": 2.5, "epoch": step / 20})
        state = {"global_step": step, "max_steps": 20, "num_train_epochs": 1, "log_history": log}
        (folder / f"checkpoint-{step}" / "trainer_state.json").write_text(json.dumps(state))
    return folder


def shown(finetop, name):
    return json.loads(finetop("show", name, "--json")[1])["run"]


@pytest.mark.slow
def test_a_trainers_folder_becomes_a_run_with_curves_and_a_check(finetop, trainer_folder, suite, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "What is 3 and 4?", "completion": "7"}\n')
    code, out, err = finetop("import", "tone", "--suite", suite, "--data", "rows.jsonl", "--check")
    assert code == 0, err
    assert "tone: lora on" in out and "linked, at step 10, 20" in out
    run = shown(finetop, "tone")
    row = run["row"]
    assert (row["state"]["type"], row["method"], row["objective"]) == ("finished", "lora", "imported")
    assert (row["step"], row["steps"]) == (20, 20)
    assert (row["metrics"]["loss"], row["metrics"]["eval_loss"]) == (1.0, 2.5)
    assert [checkpoint["step"] for checkpoint in run["checkpoints"]] == [10, 20]
    link = tmp_path / "home" / run["folder"] / "checkpoints" / "step-000020"
    assert link.readlink() == trainer_folder / "checkpoint-20"
    assert "step 20/20  loss 1.0000  eval 2.5000" in finetop("tail", "tone", "-n", "1")[1]
    assert "finetop import" not in finetop("ls")[1] and "tone" in finetop("ls")[1]

    # The check was queued with the import; waiting for the run waits for it.
    assert "finished" in finetop("tail", "tone")[1]
    code, out, _ = finetop("check", "tone", "--last", "--json")
    check = json.loads(out)["check"]
    assert (check["step"], check["suite"]) == (20, "mini")
    assert check["contamination"]["by_task"] == {"sums": 1}  # a row of --data has the same question
    assert code == {"ok": 0, "regressed": 1, "no_verdict": 3}[check["verdict"]]


@pytest.mark.slow  # four jobs; each has a quick test of its own
def test_a_model_is_checked_by_its_path_and_known_again(finetop, tiny_model, suite, tmp_path):
    save_adapter(tiny_model, tmp_path / "mine", 0.0)
    arguments = ("check", "--model", "mine", "--base", str(tiny_model), "--suite", suite, "--margin", "10")
    code, out, err = finetop(*arguments, "--markdown", "report.md", "--junit", "report.xml")
    assert code == 0, out + err
    assert "mine at step 0, suite mini" in out
    assert "limit 10.0" in out
    assert "mini" in (tmp_path / "report.md").read_text()
    assert "<testsuite" in (tmp_path / "report.xml").read_text()

    # The same folder, trained further: the same run, with every item scored again.
    save_adapter(tiny_model, tmp_path / "mine", 40.0)
    code, out, err = finetop(*arguments, "--json")
    document = json.loads(out)
    assert document["run"] == "mine", err
    assert document["check"]["lost"] + document["check"]["won"] > 0
    assert (document["check"]["claim"], document["check"]["watch"]) == (0, False)
    assert [run["name"] for run in json.loads(finetop("ls", "--json")[1])["runs"]] == ["mine"]
    jobs = [job["verb"] for job in shown(finetop, "mine")["jobs"]]
    assert jobs == ["import", "check", "check"]

    # Other settings: a check without a claim, as the run has its claim. The run's own recipe is unchanged.
    code, out, _ = finetop("check", "mine", "--suite", suite, "--margin", "10.5", "--seed", "2", "--json")
    check = json.loads(out)["check"]
    assert check["watch"] is True
    assert {key: check["general"][key] for key in ("margin", "seed")} == {"margin": 10.5, "seed": 2}
    assert shown(finetop, "mine")["recipe"]["check"]["general"]["suite"] == "quick"


@pytest.mark.slow  # a quick test covers a quantised check from job to verdict
def test_a_model_in_fewer_bits_is_another_run(finetop, tiny_model, suite, tmp_path):
    save_adapter(tiny_model, tmp_path / "mine", 0.0)
    code, out, err = finetop("check", "--model", "mine", "--quantize", "nf4", "--suite", suite, "--json")
    assert code == 0, out + err
    check = json.loads(out)["check"]
    assert check["drop"] == 0
    assert check["models"]["tuned"]["quantize"].startswith("nf4, bitsandbytes")


def test_full_models_copies_and_names(finetop, tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "whole")
    (tmp_path / "whole" / "training_args.bin").write_bytes(b"a pickle")
    arguments = ("whole", "--base", str(tiny_model), "--name", "mine", "--copy", "--json")
    code, out, err = finetop("import", *arguments)
    assert code == 0, err
    document = json.loads(out)
    assert (document["run"]["name"], document["run"]["method"]) == ("mine", "full")
    (saved,) = document["checkpoints"]
    copy = tmp_path / "home" / "runs" / "0001-mine" / saved["path"]
    assert not copy.is_symlink() and (copy / "model.safetensors").is_file()
    assert not (copy / "training_args.bin").exists()


def other_base(tiny_model, folder):
    import numpy
    from safetensors.numpy import load_file, save_file

    shutil.copytree(tiny_model, folder)
    weights = load_file(folder / "model.safetensors")
    for name in filter(lambda name: "down_proj" in name, weights):
        weights[name] = numpy.ascontiguousarray(weights[name][:, :96])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.slow
def test_a_wrong_base_fails_the_import_in_one_line(finetop, tiny_model, tmp_path):
    save_adapter(tiny_model, tmp_path / "mine", 0.0)
    other_base(tiny_model, tmp_path / "other")
    code, _, err = finetop("import", "mine", "--base", "other")
    assert code == 2
    assert "the import of mine failed:" in err
    assert "down_proj has 96 inputs, but the adapter's 128. Give the base" in err
    assert err.count("\n") == 1
    assert shown(finetop, "mine")["row"]["state"]["type"] == "failed"
    code, _, err = finetop("check", "--model", "mine", "--base", "org/nowhere")
    assert code == 4
    assert "org/nowhere is not here and the hub can't be reached" in err and "--base ID|FOLDER" in err


def test_what_can_be_seen_at_once_needs_no_job(finetop, tiny_model, suite, tmp_path):
    save_adapter(tiny_model, tmp_path / "mine", 0.0)
    save_adapter(tiny_model, tmp_path / "pickled", 0.0)
    (tmp_path / "pickled" / "adapter_model.safetensors").rename(tmp_path / "pickled" / "adapter_model.bin")
    cases = {
        "import gone": "no folder",
        "import pickled": "a pickle, which can run any code",
        f"import {tiny_model}": "Add --base ID|FOLDER.",
        "import mine --base ./gone": "--base: no folder",
        "import mine --data gone.jsonl": "--data: there is no file",
        "import mine --suite quik": "Did you mean quick?",
        "import mine --name 'a b'": "cannot be a name",
        "check --model gone": "no folder",
        "check": "neither a run nor --model",
        "check mine --model mine": "both mine and --model",
        "check mine --base x": "--base works only with --model",
        "check mine --quantize nf4": "--quantize works only with --model",
        "check mine --margin 0": "--margin is 0.0; it must be",
        "check mine --seed -1": "--seed is -1; it must be",
        "check mine --suite quik": "Did you mean quick?",
        "check mine --last --margin 2": "--last only prints the newest check; it can't use --margin",
        "check mine --curve --junit x.xml": "--junit and --markdown report one check",
        "check mine --json --junit -": "would mix on stdout",
        "check mine": "there is no run 'mine'",
    }
    refuses(finetop, cases)
    assert json.loads(finetop("ls", "--json")[1])["runs"] == []
