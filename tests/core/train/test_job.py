"""A whole training job in its own process, on a tiny model: what it writes, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from waiting import TORCH_LIMIT_S, wait_until

from finetop.core import run_job
from finetop.core.errors import RecipeError
from finetop.core.models import checkpoint
from finetop.core.protocol import events
from finetop.core.protocol.runs import JobSpec
from finetop.core.recipe import job as recipe_job
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime import event_log, job_folder
from finetop.core.runtime.stop_signal import Stop

# The job as a keeper starts it; at the end it reports modules that it must not have loaded.
JOB = """
import sys
from finetop.core import run_job as job
code = job.main()
print("FORBIDDEN", sorted({"textual", "duckdb", "torch._inductor.lowering"} & set(sys.modules)))
raise SystemExit(code)
"""
# The same with a learning rate that no recipe may have: everything overflows in the second step.
NAN_JOB = """
import msgspec
from finetop.core import run_job as job
from finetop.core.recipe import job as recipe_job
read = recipe_job.recipe_from_resolved
def hot(text, label):
    recipe = read(text, label)
    train = msgspec.structs.replace(recipe.train, learning_rate=1e30)
    return msgspec.structs.replace(recipe, train=train)
recipe_job.recipe_from_resolved = hot
raise SystemExit(job.main())
"""
ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"What is {n}?"},
            {"role": "assistant", "content": f"It is {n * n}."},
        ]
    }
    for n in range(1, 41)
]
TEXT = "The shop opens at nine, and closes at six. We mend radios, lamps and clocks in the old mill. " * 40


def make_job(tmp_path, tiny_model, rows=ROWS, **sections):
    data = tmp_path / "faq.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe: dict[str, Any] = {
        "recipe": 1,
        "name": "tiny",
        "model": {"id": str(tiny_model), "dtype": "float32"},
        "method": {"name": "lora"},
        "objective": {"name": "sft"},
        "data": {"train": [{"path": str(data)}], "max_tokens": 64},
        "train": {
            "epochs": 2.0,
            "batch_size": 4,
            "grad_accumulation": 1,
            "learning_rate": 0.01,
            "keep_checkpoints": 2,
        },
        "samples": {"count": 2, "max_new_tokens": 4},
        "check": {"at_end": False, "general": {"suite": "tiny"}},
        "drift": {"every": 0.5, "limit": 0.0001},
    }
    for name, section in sections.items():
        recipe[name] = {**recipe[name], **section} if isinstance(section, dict) else section
    loaded = resolve_text(json.dumps(recipe))
    suites = tmp_path / "home" / "suites"
    suites.mkdir(parents=True)
    (suites / "general.txt").write_text(TEXT)
    (suites / "items.jsonl").write_text('{"id": "a", "question": "b", "answer": "c"}\n')
    task = "{name: t, data: items.jsonl, chance: 0.0}"
    (suites / "tiny.yaml").write_text(f"suite: 1\nname: tiny\ntext: general.txt\ntasks:\n  - {task}\n")
    job = tmp_path / "home" / "runs" / "0001-tiny" / "jobs" / "0001-train"
    job.mkdir(parents=True)
    (job / "job.json").write_bytes(msgspec.json.encode(JobSpec(1, 1, 1, "tiny", "train", loaded.resolved)))
    return job


def start(job, code=JOB):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code, str(job)],
        env=environment,
        cwd=job,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(job, code=JOB):
    process = start(job, code)
    log, _ = process.communicate(timeout=TORCH_LIMIT_S)
    return process.returncode, log, read_events(job)


def done_here(job, monkeypatch):
    """Do the job's work in this process: a new one with the training stack takes 6 CPU s to start."""
    monkeypatch.setenv(
        "CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    )  # the job narrows it
    log = event_log.EventLog(job / "events.jsonl")
    assert run_job.work(job_folder.read_spec(job), job, log, Stop()) == events.Ended("finished")
    return read_events(job)


def read_events(job):
    lines = [events.decode(line) for line in (job / "events.jsonl").read_bytes().splitlines()]
    assert [line.n for line in lines] == list(range(1, len(lines) + 1))
    return [line.e for line in lines]


def of(kind, happened):
    return [event for event in happened if isinstance(event, kind)]


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"train": {"epochs": None}}, "the length of training is not set"),
        ({"method": {"name": "lorra"}}, "method.name: there is no method 'lorra'. Did you mean lora?"),
    ],
)
def test_a_job_json_that_was_changed_is_told_by_the_rule_that_it_breaks(
    tmp_path, tiny_model, monkeypatch, section, says
):
    job = make_job(tmp_path, tiny_model)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES", "0"))
    spec = job_folder.read_spec(job)
    recipe = {**spec.recipe, **{name: {**spec.recipe[name], **part} for name, part in section.items()}}
    (job / "job.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(spec, recipe=recipe)))
    with pytest.raises(RecipeError) as caught:
        run_job.work(job_folder.read_spec(job), job, event_log.EventLog(job / "events.jsonl"), Stop())
    assert f"job.json: {says}" in str(caught.value)
    assert recipe_job.what_to_lower(job)


def curve(key, happened):
    return {event.step: event.values[key] for event in of(events.Metrics, happened) if key in event.values}


def test_lora_learns_and_tells_all_of_it(tmp_path, tiny_model):
    job = make_job(tmp_path, tiny_model)
    code, log, happened = finish(job)
    assert code == 0, log
    assert happened[-1] == events.Ended("finished")
    assert isinstance(happened[0], events.Started)
    assert (happened[0].device, happened[0].dtype) == ("cpu", "float32") or happened[0].device.startswith(
        "cuda"
    )
    (planned,) = of(events.Planned, happened)
    assert (planned.steps, planned.rows, planned.eval_rows) == (18, 36, 4)
    assert 0 < planned.trainable_parameters < planned.parameters / 2
    loss = curve("loss", happened)
    assert sorted(loss) == list(range(1, 19))
    assert sum(loss[step] for step in (16, 17, 18)) < 0.92 * sum(loss[step] for step in (1, 2, 3))
    for key in ("learning_rate", "grad_norm", "tokens_per_s", "tokens", "memory_gib", "epoch"):
        assert sorted(curve(key, happened)) == list(range(1, 19)), key
    eval_loss = curve("eval_loss", happened)
    assert max(eval_loss) == 18
    assert eval_loss[18] < eval_loss[min(eval_loss)]
    drift = curve("drift", happened)
    assert drift[0] == 0.0
    assert drift[18] != 0.0
    assert curve("kl", happened)[18] > 0.0
    assert {sample.step for sample in of(events.Sample, happened)} >= {0, 18}
    (first_row,) = of(events.FirstRow, happened)
    assert [is_learned for _, is_learned in first_row.pieces] == [False, True]
    assert first_row.pieces[-1][0].startswith("It is ")
    kept = checkpoint.complete(job.parent.parent)
    assert kept[-1].name == "step-000018"
    assert len(kept) == 2
    assert {path.name for path in kept[-1].iterdir()} >= {"adapter_model.safetensors", "tokenizer.json"}
    assert of(events.Checkpoint, happened)[-1].kind == "adapter"
    assert "⟦" in log
    assert log.index("⟦") < log.index("step 1/18")
    assert "FORBIDDEN []" in log
    assert "Warning" not in log


@pytest.mark.filterwarnings("ignore")  # a job's process is quiet, as the test above checks
def test_full_tuning_saves_a_model_that_loads_and_differs_from_the_base(tmp_path, tiny_model, monkeypatch):
    job = make_job(
        tmp_path,
        tiny_model,
        method={"name": "full"},
        objective={"name": "sft", "packing": True},
        train={"epochs": None, "max_steps": 3},
        samples={"count": 0},
        drift={"every": None},
    )
    happened = done_here(job, monkeypatch)
    (planned,) = of(events.Planned, happened)
    assert planned.steps == 3
    assert planned.trainable_parameters == planned.parameters
    (folder,) = checkpoint.complete(job.parent.parent)[-1:]
    from safetensors.numpy import load_file

    before, after = (load_file(path / "model.safetensors") for path in (tiny_model, folder))
    assert before.keys() == after.keys()
    assert any((before[name] != after[name]).any() for name in before)
    base = json.loads((folder / "manifest.json").read_text())["base"]
    assert len(base["weights_hash"]) == 64


def test_sigterm_saves_a_checkpoint_and_ends_as_stopped(tmp_path, tiny_model):
    job = make_job(
        tmp_path,
        tiny_model,
        train={"epochs": 5000.0, "save_every": 10**6, "eval_every": 10**6},
        samples={"count": 0},
        drift={"every": None},
    )
    process = start(job)
    told = job / "events.jsonl"

    def has_begun() -> bool:
        assert process.poll() is None, process.communicate()[0]
        return told.exists() and b'"metrics"' in told.read_bytes()

    wait_until(has_begun, "it trains", TORCH_LIMIT_S)
    process.send_signal(signal.SIGTERM)
    log, _ = process.communicate(timeout=TORCH_LIMIT_S)
    assert process.returncode == 0, log
    happened = read_events(job)
    last_step = max(curve("loss", happened))
    assert happened[-1].status == "stopped"
    assert happened[-1].cause == f"asked to stop, after step {last_step} of 45000"
    assert happened[-1].kind == "asked"
    (saved,) = of(events.Checkpoint, happened)
    assert saved.step == last_step
    assert checkpoint.is_complete(job.parent.parent / saved.path)


def test_a_loss_that_is_no_number_is_one_alarm_kept_as_null_and_ends_the_run(tmp_path, tiny_model):
    job = make_job(
        tmp_path,
        tiny_model,
        method={"name": "full"},
        train={"epochs": None, "max_steps": 50, "schedule": "constant", "warmup_steps": 0, "stop_on_nan": 3},
    )
    code, log, happened = finish(job, NAN_JOB)
    assert code == 1, log
    (alarm,) = [alarm for alarm in of(events.Alarm, happened) if alarm.kind == "nan"]
    bad = [event for event in of(events.Metrics, happened) if "loss" in event.bad or "grad_norm" in event.bad]
    assert alarm.step == next(event.step for event in bad if "loss" in event.bad)
    assert all(event.values[key] is None for event in bad for key in event.bad)
    last = happened[-1]
    assert (last.status, last.kind) == ("failed", "nan")
    assert last.cause == f"the loss is NaN since step {bad[0].step}: nothing can be learned any more."
    assert "Lower train.learning_rate" in last.hint
    assert max(curve("learning_rate", happened)) == bad[0].step + 2
    assert not of(events.Checkpoint, happened), "what is kept must be numbers"


def test_a_learning_rate_that_is_far_too_high_is_an_alarm_within_eight_steps(tmp_path, tiny_model):
    job = make_job(
        tmp_path,
        tiny_model,
        method={"name": "full"},
        samples={"count": 0},
        drift={"every": None},
        train={
            "epochs": None,
            "max_steps": 8,
            "schedule": "constant",
            "warmup_steps": 0,
            "learning_rate": 0.3,
        },
    )
    code, log, happened = finish(job)
    assert code == 0, log
    (alarm,) = of(events.Alarm, happened)
    assert alarm.kind == "divergence"
    assert alarm.step <= 8
    assert f"alarm: step {alarm.step}: diverging at step {alarm.step}: loss " in log
    assert alarm.text.endswith(": lower train.learning_rate")


@pytest.mark.parametrize(
    ("rows", "sections", "code", "says"),
    [
        ([*ROWS[:16], {"messages": []}], {}, 2, "faq.jsonl:17: messages must be a list of turns."),
        pytest.param(
            ROWS,
            {"model": {"id": "no-such/model"}},
            4,
            "no-such/model is not here and the hub can't be reached",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_bad_input_ends_in_words_with_its_exit_code(tmp_path, tiny_model, rows, sections, code, says):
    job = make_job(tmp_path, tiny_model, rows, **sections)
    exit_code, log, happened = finish(job)
    assert exit_code == code, log
    assert happened[-1].status == "failed"
    assert says in happened[-1].cause
    assert happened[-1].hint
    assert happened[-1].exit_code == code
    assert "Traceback" in log
    assert "loading the model" not in {phase.name for phase in of(events.Phase, happened)}
