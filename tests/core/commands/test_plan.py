"""`finetop plan`: its output, its exit codes, and that it loads nothing heavy and starts nothing."""

import io
import json

import pytest
from typed import loaded_by, refuses

from finetop.core.commands import plan as plan_command
from finetop.core.commands.main import main
from finetop.core.models.resolved import Moving
from finetop.core.plan import machine

LLAMA = {"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32}
LLAMA |= {
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
}


class Silent:
    """In place of the process that asks the job's code: it takes seconds. tests/core/plan/test_rehearsal.py asks."""

    counted = Moving()
    kept = None

    def __init__(self, *_given):
        pass

    def answer(self):
        return self.counted

    def stop(self):
        pass


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A recipe on a model with only a config, on a machine without a GPU."""
    monkeypatch.setattr(machine, "gpus", lambda: ())
    monkeypatch.setattr(plan_command, "Rehearsal", Silent)
    monkeypatch.setenv("FINETOP_HOME", str(tmp_path / "home"))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(LLAMA))
    rows = '{"prompt": "What opens at nine?", "completion": "The shop opens at nine."}\n'
    (tmp_path / "rows.jsonl").write_text(rows * 100)
    (tmp_path / "mine.yaml").write_text(
        "recipe: 1\nextends: lora\nname: mine\nmodel: {id: ./model}\ndata: {train: [{path: rows.jsonl}]}\n"
    )
    return tmp_path


@pytest.fixture
def plan(folder, command):
    """Plan mine.yaml with these further words."""
    return lambda *arguments: command("plan", str(folder / "mine.yaml"), *arguments)


def test_it_says_what_fits_and_how_long(plan, folder, monkeypatch):
    code, out, err = plan("--gpu-memory", "24")
    assert (code, err) == (0, "")
    assert "8.03B" in out and "✓ fits" in out
    assert "90 rows, 10 for evaluation" in out
    assert "12 of 16 rows" in out
    assert "4 checkpoints of 0.16 GiB" in out
    assert all(len(line) <= 80 for line in out.splitlines())
    monkeypatch.setattr(Silent, "counted", Moving(8_030_261_248, 123_456_789))
    assert "of which 123M" in plan("--gpu-memory", "40")[1]  # as the job counts
    assert not (folder / "home").exists()  # no home was created


def test_a_terminal_shows_what_takes_long_until_it_is_done(plan, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr("sys.__stderr__", screen)
    monkeypatch.setenv("TERM", "xterm")
    plan()
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    plan()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    plan("--json")
    assert screen.getvalue() == "", "in a pipe, and with --json"
    _, out, err = plan()
    shown = [line.strip() for line in screen.getvalue().split("\r\x1b[K")]
    assert shown[1].startswith("reading the data") and shown[2].startswith("loading the training code")
    assert (shown[-1], err) == ("", "") and "reading" not in out


def test_what_does_not_fit_says_what_would_and_exits_with_one(plan, folder):
    code, out, _ = plan("--gpu-memory", "12")
    assert code == 1
    assert "✗ does NOT fit" in out
    command = next(line for line in out.splitlines() if line.startswith("  --set"))
    sets = [word for word in command.split() if word != "--set"]
    code, out, _ = plan("--gpu-memory", "12", *(word for setting in sets for word in ("--set", setting)))
    assert (code, "✓ fits" in out) == (0, True)


def test_one_json_document_with_a_schema(plan, folder):
    code, out, _ = plan("--gpus", "2", "--json")
    document = json.loads(out)
    assert (code, document["schema"]) == (0, 1)
    plan_facts = document["plan"]
    assert plan_facts["verdict"] == "unknown"  # no GPU here, and no size was given
    assert plan_facts["parameters"] == 8_030_261_248
    assert {part["name"] for part in plan_facts["parts"]} >= {"weights", "optimizer", "activations", "logits"}
    assert sum(part["bytes"] for part in plan_facts["parts"]) == pytest.approx(plan_facts["estimate"])
    assert [way["way"] for way in plan_facts["sharded"]] == ["a copy on each (ddp)", "weights sharded (fsdp)"]


def test_the_memory_beside_several_gpus_is_told_and_a_machine_that_lacks_it(plan, folder, monkeypatch):
    arguments = ("--gpus", "8", "--gpu-memory", "80", "--set", "method={name: full}")
    code, out, _ = plan(*arguments)
    (line,) = (line for line in out.splitlines() if "memory of each machine, 8 ranks on it" in line)
    each = next(line for line in out.splitlines() if "weights sharded (fsdp)" in line)
    assert code == 0 and float(line.split()[-1]) == pytest.approx(63, abs=1) and len(line) == len(each)
    small = machine.Machine("gpu", "a GPU", 80 * 2**30, gpus=8, host=16.0 * 2**30)
    monkeypatch.setattr(plan_command, "read_machine", lambda *_, **__: small)
    code, out, _ = plan(*arguments)
    assert code == 1 and "✓ fits" in out  # each GPU has enough
    assert "✗ does NOT fit: this machine has 16" in out


def test_a_model_that_is_not_here_needs_its_config(plan, folder, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(folder / "cache"))
    sets = ("--set", "model.id=org/not-here")
    code, _, err = plan(*sets)
    assert code == 4
    assert "org/not-here is not on this machine" in err and "--config" in err
    code, out, _ = plan(*sets, "--config", str(folder / "model"), "--gpu-memory", "40")
    assert (code, "on model, 8.03B" in out) == (0, True)


def test_what_can_not_be_is_refused_in_one_line(plan, folder):
    cases = {
        "--gpus 0": "--gpus: '0' is not a whole number from 1",
        "--gpu-memory -1": "--gpu-memory is -1.0",
        "--gpu-memory nan": "--gpu-memory is nan",
        "--set train.batch_size=0": "train.batch_size",
        "--config /no/such/file": "/no/such/file: no such file",
        "--set method.rnk=3": "Did you mean rank",
        "--set data.max_tokens=8": "data.train: no row is left to learn from",
        "--set 'data.train=[{path: /no/rows.jsonl}]'": "no such file",
        "--config /dev/zero": "/dev/zero: can't be read: not a file",
    }
    refuses(plan, cases)
    (folder / "model" / "config.json").write_text(json.dumps({**LLAMA, "num_hidden_layers": 10**7}))
    refuses(plan, {"": "num_hidden_layers is 10,000,000"})


@pytest.mark.slow
def test_modules_that_the_model_has_not_are_refused_before_it_is_queued(folder, monkeypatch, capsys):
    monkeypatch.undo()
    monkeypatch.setenv("FINETOP_HOME", str(folder / "home"))
    arguments = ["run", str(folder / "mine.yaml"), "--set", f"model.id={folder / 'model'}"]
    assert main([*arguments, "--set", "method.target_modules=[foo]"]) == 2
    assert "the model has no module 'foo'" in capsys.readouterr().err
    assert main([*arguments, "--set", "trainer_args.adam_beta=0.9"]) == 2
    assert "Did you mean adam_beta" in capsys.readouterr().err
    assert not (folder / "home").exists()


@pytest.mark.slow
def test_what_the_job_refuses_is_refused(folder, monkeypatch, capsys, request):
    """Decided by the job's own code, in its process: a T5 is not a causal language model."""
    monkeypatch.undo()
    request.getfixturevalue("warm")
    monkeypatch.setenv("FINETOP_HOME", str(folder / "home"))
    t5 = {"model_type": "t5", "d_model": 64, "d_ff": 128, "num_layers": 2, "num_heads": 4, "vocab_size": 400}
    (folder / "model" / "config.json").write_text(json.dumps(t5))
    assert main(["plan", str(folder / "mine.yaml"), "--gpu-memory", "24"]) == 2
    assert "is not a causal language model" in capsys.readouterr().err


def test_each_stage_of_a_chain_is_planned_on_the_model_that_the_first_begins_from(command, folder):
    (folder / "links.yaml").write_text(
        "recipe: 1\nmodel: {id: ./model}\ndata: {train: [{path: rows.jsonl}]}\n"
        "stages:\n  - {name: sft, extends: lora}\n  - {name: more, extends: full}\n"
    )
    code, out, err = command("plan", str(folder / "links.yaml"), "--gpu-memory", "24")
    assert (code, err) == (1, "")  # full does not fit
    assert [line for line in out.splitlines() if line.startswith("stage ")] == ["stage sft", "stage more"]
    assert "links.more: sft with full on model, 8.03B" in out
    code, out, _ = command("plan", str(folder / "links.yaml"), "--gpu-memory", "24", "--json")
    assert [stage["stage"] for stage in json.loads(out)["stages"]] == ["sft", "more"]


def test_it_loads_no_training_stack_and_no_database(folder):
    first = """
from finetop.core.commands import plan
from finetop.core.models.resolved import Moving
class Silent:
    kept = Moving()
    def __init__(self, *given): pass
    def answer(self): return Moving()
    def stop(self): pass
plan.Rehearsal = Silent
"""
    assert loaded_by("plan", str(folder / "mine.yaml"), "--gpu-memory", "24", first=first) == (0, [])


def test_earlier_runs_of_the_home_say_how_fast_it_is(rig, folder, command, monkeypatch):
    """An earlier run of the same model and method is in the store; the plan uses its pace."""
    monkeypatch.setenv("FINETOP_HOME", str(rig.home.root))
    about = json.dumps(json.dumps({"steps": 4, "start": 0, "parameters": 8_000_000_000}))
    text = (folder / "mine.yaml").read_text() + f"about: {about}\ncheck: {{at_end: false}}\n"
    (folder / "mine.yaml").write_text(text.replace("id: ./model", f"id: {folder / 'model'}"))
    # No model of that size fits here.
    assert command("run", str(folder / "mine.yaml"), "--wait", "--force")[0] == 0
    short = (folder / "mine.yaml").read_text().replace('\\"steps\\": 4', '\\"steps\\": 2')
    (folder / "short.yaml").write_text(short)  # one step behind the first, which warms up
    assert command("run", str(folder / "short.yaml"), "--wait", "--force")[0] == 0
    code, out, _ = command("plan", str(folder / "mine.yaml"), "--json")
    assert code in (0, 1)
    plan_facts = json.loads(out)["plan"]
    assert plan_facts["time"]["is_measured"], plan_facts["time"]
    assert plan_facts["time"]["source"] == "measured by run mine", "two steps say too little"
    assert 4000 < plan_facts["time"]["tokens_per_s"] < 4200


def test_the_demo_is_planned_before_its_model_is_here(folder, monkeypatch, command):
    monkeypatch.setenv("HF_HUB_CACHE", str(folder / "hub"))
    code, out, _ = command("plan", "demo-lora", "--json")
    plan = json.loads(out)["plan"]
    assert code == 0
    assert 134e6 < plan["parameters"] < 135e6 and plan["family"] == "llama"
    assert plan["steps"]["steps"] == 40 and plan["steps"]["how"] == "from characters"
    assert any("the demo model is downloaded by the first run" in note for note in plan["notes"])
