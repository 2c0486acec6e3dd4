"""A whole training job in its own process, on a tiny model: what it writes, and how it ends."""

import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from python_call import call
from safetensors.numpy import load_file
from tiny_run import IN_SUITE, chat, curve, of, read_events, recipe_text, write_rows, write_suite
from transformers import PreTrainedModel
from waiting import TORCH_LIMIT_S, wait_until

from finetop.core import run_job
from finetop.core.models import checkpoint, devices
from finetop.core.protocol import events
from finetop.core.protocol.runs import JobSpec
from finetop.core.recipe import job as recipe_job
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime import job_folder, job_process

# The job as a keeper starts it; at the end it reports modules that it must not have loaded.
JOB = """
import sys
from finetop.core import run_job as job
code = job.main()
print("FORBIDDEN", sorted({"textual", "duckdb", "torch._inductor.lowering"} & set(sys.modules)))
raise SystemExit(code)
"""
ROWS = [chat(f"What is {n}?", f"It is {n * n}.") for n in range(1, 41)]
OWN = {
    "train": {"epochs": 2.0, "learning_rate": 0.01, "keep_checkpoints": 2},
    "samples": {"count": 2, "max_new_tokens": 4},
    "drift": {"every": 0.5, "limit": 0.0001},
}
UNWATCHED = {"samples": {"count": 0}, "drift": {"every": None}}


def make_job(tmp_path, tiny_model, rows=ROWS, **sections):
    data = write_rows(tmp_path / "faq.jsonl", rows)
    recipe = resolve_text(recipe_text(tiny_model, data, IN_SUITE, OWN, sections)).resolved
    write_suite(tmp_path / "home")
    job = tmp_path / "home" / "runs" / "0001-tiny" / "jobs" / "0001-train"
    job.mkdir(parents=True)
    (job / "job.json").write_bytes(msgspec.json.encode(JobSpec(1, 1, 1, "tiny", "train", recipe)))
    return job


def finish(job):
    done = call("-c", JOB, job, cwd=job, HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1")
    return done.returncode, done.stdout + done.stderr, read_events(job)


@pytest.fixture
def do(monkeypatch, capsys):
    """Return a function that does a job in this process: a new one takes 6 CPU s to import the training stack."""
    monkeypatch.setattr(job_process.faulthandler, "enable", lambda: None)
    monkeypatch.setattr(job_process.faulthandler, "register", lambda number: None)
    # the job narrows it
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES", "0"))
    before = signal.getsignal(signal.SIGTERM)

    def run(job):
        code = run_job.run(job)
        return code, "".join(capsys.readouterr()), read_events(job)

    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("section", "says"), [
    ({"train": {"epochs": None}}, "the length of training is not set"),
    ({"method": {"name": "lorra"}}, "method.name: there is no method 'lorra'. Did you mean lora?"),
])  # fmt: skip
def test_a_job_json_that_was_changed_is_told_by_the_rule_that_it_breaks(
    tmp_path, tiny_model, do, section, says
):
    job = make_job(tmp_path, tiny_model)
    spec = job_folder.read_spec(job)
    recipe = {**spec.recipe, **{name: {**spec.recipe[name], **part} for name, part in section.items()}}
    (job / "job.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(spec, recipe=recipe)))
    code, _, happened = do(job)
    last = happened[-1]
    assert (code, last.exit_code) == (2, 2)
    assert f"job.json: {says}" in f"{last.cause} {last.hint}"
    assert recipe_job.what_to_lower(job)


@pytest.mark.slow
def test_lora_learns_and_tells_all_of_it(tmp_path, tiny_model):
    job = make_job(tmp_path, tiny_model)
    code, log, happened = finish(job)
    assert code == 0, log
    assert happened[-1] == events.Ended("finished")
    started = happened[0]
    assert isinstance(started, events.Started)
    assert (started.device, started.dtype) == ("cpu", "float32") or started.device.startswith("cuda")
    (planned,) = of(events.Planned, happened)
    assert (planned.steps, planned.rows, planned.eval_rows) == (18, 36, 4)
    assert 0 < planned.trainable_parameters < planned.parameters / 2
    loss, eval_loss, drift = (curve(key, happened) for key in ("loss", "eval_loss", "drift"))
    assert sum(loss[step] for step in (16, 17, 18)) < 0.92 * sum(loss[step] for step in (1, 2, 3))
    for key in ("loss", "learning_rate", "grad_norm", "tokens_per_s", "tokens", "memory_gib", "epoch"):
        assert sorted(curve(key, happened)) == list(range(1, 19)), key
    assert max(eval_loss) == 18
    assert eval_loss[18] < eval_loss[min(eval_loss)]
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
    assert log.index("⟦") < log.index("step 1/18")
    assert "FORBIDDEN []" in log
    assert "Warning" not in log


@pytest.mark.filterwarnings("ignore")  # a job's process is quiet, as the test above checks
def test_a_job_recomputes_activations_where_they_do_not_fit_and_says_so(
    tmp_path, tiny_model, do, monkeypatch
):
    monkeypatch.setattr(devices, "memory_of", lambda *_: 0.5e9)
    turned_on = []
    enable = PreTrainedModel.activation_checkpointing_enable
    monkeypatch.setattr(
        PreTrainedModel,
        "activation_checkpointing_enable",
        lambda model, *given, **named: turned_on.append(1) or enable(model, *given, **named),
    )
    code, log, _ = do(make_job(tmp_path, tiny_model, **UNWATCHED))
    assert code == 0, log
    assert turned_on
    assert re.search(
        r"activations are recomputed \(train.activation_checkpointing: auto\): .* of 0.47", log
    ), log


CONSTANT = {"epochs": None, "schedule": "constant", "warmup_steps": 0}


@pytest.mark.filterwarnings("ignore")  # a job's process is quiet, as the test above checks
def test_full_tuning_at_far_too_high_a_rate_is_an_alarm_and_saves_a_model_that_loads(
    tmp_path, tiny_model, do
):
    full = {"method": {"name": "full"}, "objective": {"name": "sft", "packing": True}, **UNWATCHED}
    high = {**CONSTANT, "max_steps": 8, "learning_rate": 0.3}
    job = make_job(tmp_path, tiny_model, **full, train=high)
    code, log, happened = do(job)
    assert (code, happened[-1]) == (0, events.Ended("finished")), log
    (planned,) = of(events.Planned, happened)
    assert planned.steps == 8
    assert planned.trainable_parameters == planned.parameters
    (alarm,) = of(events.Alarm, happened)
    assert alarm.kind == "divergence"
    assert f"alarm: step {alarm.step}: diverging at step {alarm.step}: loss " in log
    assert alarm.text.endswith(": lower train.learning_rate")
    (folder,) = checkpoint.complete(job.parent.parent)[-1:]
    before, after = (load_file(path / "model.safetensors") for path in (tiny_model, folder))
    assert before.keys() == after.keys()
    assert any((before[name] != after[name]).any() for name in before)
    base = json.loads((folder / "manifest.json").read_text())["base"]
    assert len(base["weights_hash"]) == 64


@pytest.mark.filterwarnings("ignore")
def test_sigterm_saves_a_checkpoint_and_ends_as_stopped(tmp_path, tiny_model, do):
    rare = {"epochs": 5000.0, "save_every": 10**6, "eval_every": 10**6}
    job = make_job(tmp_path, tiny_model, **UNWATCHED, train=rare)
    told = job / "events.jsonl"

    def has(*kinds):
        return told.exists() and any(kind in told.read_bytes() for kind in kinds)

    def ask():
        wait_until(lambda: has(b'"metrics"', b'"ended"'), "it trains", TORCH_LIMIT_S)
        if not has(b'"ended"'):
            os.kill(os.getpid(), signal.SIGTERM)

    with ThreadPoolExecutor() as pool:
        asked = pool.submit(ask)
        code, log, happened = do(job)
    asked.result()
    assert code == 0, log
    last_step = max(curve("loss", happened))
    ended = events.Ended("stopped", f"asked to stop, after step {last_step} of 45000", kind="asked")
    assert happened[-1] == ended
    (saved,) = of(events.Checkpoint, happened)
    assert saved.step == last_step
    assert checkpoint.is_complete(job.parent.parent / saved.path)


@pytest.mark.filterwarnings("ignore")
def test_a_loss_that_is_no_number_is_one_alarm_kept_as_null_and_ends_the_run(
    tmp_path, tiny_model, do, monkeypatch
):
    read = recipe_job.recipe_from_resolved

    def hot(text, label):
        """Read a recipe with a rate that none may have: everything overflows in the second step."""
        recipe = read(text, label)
        train = msgspec.structs.replace(recipe.train, learning_rate=1e30)
        return msgspec.structs.replace(recipe, train=train)

    monkeypatch.setattr(recipe_job, "recipe_from_resolved", hot)
    stops = {**CONSTANT, "max_steps": 50, "stop_on_nan": 3}
    code, log, happened = do(make_job(tmp_path, tiny_model, method={"name": "full"}, train=stops))
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


def require_refused(done, code, says):
    exit_code, log, happened = done
    assert exit_code == code, log
    last = happened[-1]
    assert (last.status, last.exit_code) == ("failed", code)
    assert says in last.cause
    assert last.hint
    assert ("Traceback" in log) is (code != 2)
    assert "loading the model" not in {phase.name for phase in of(events.Phase, happened)}


def test_bad_input_ends_in_words_with_its_exit_code(tmp_path, tiny_model, do):
    job = make_job(tmp_path, tiny_model, [*ROWS[:16], {"messages": []}])
    require_refused(do(job), 2, "faq.jsonl:17: messages must be a list of turns.")


def test_a_mask_that_leaves_no_row_is_one_error_before_the_first_step(tmp_path, tiny_model, do):
    job = make_job(tmp_path, tiny_model, protect={"mask_surprising": 1.01})
    code, log, happened = do(job)
    assert code == 2 and "Traceback" not in log
    assert "perplexity is 1.01, which leaves no row to train on" in happened[-1].cause
    limit = float(happened[-1].hint.partition(" would leave half of the tokens")[0])
    assert not of(events.Planned, happened)
    (tmp_path / "half").mkdir()
    half = make_job(tmp_path / "half", tiny_model, protect={"mask_surprising": limit}, train={"max_steps": 1})
    code, log, happened = do(half)
    assert code == 0 and 40 <= int(log.partition(" tokens (")[2].partition(" %")[0]) <= 60


@pytest.mark.slow
def test_a_hub_that_cannot_be_reached_ends_in_words_with_its_exit_code(tmp_path, tiny_model):
    job = make_job(tmp_path, tiny_model, model={"id": "no-such/model"})
    require_refused(finish(job), 4, "no-such/model is not here and the hub can't be reached")
