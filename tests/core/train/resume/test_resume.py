"""A resumed run equals the uninterrupted run, bit for bit; and what it must not resume from is refused."""

import json
import random
import shutil

import pytest
import tiny_run
import torch
from method_bench import OPTIONS
from safetensors.torch import load_file
from tiny_run import IN_SUITE, chat, of, recipe_text, write_rows, write_suite

from finetop.core.errors import BadInput
from finetop.core.models import checkpoint, cpu_formats, devices
from finetop.core.protocol import events
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime import event_log
from finetop.core.runtime.home import Home
from finetop.core.train import callbacks, methods
from finetop.core.train.resume import resume, state_files, training_state
from finetop.core.train.resume.earlier_jobs import read_earlier_jobs
from finetop.core.train.resume.resume_point import ResumePoint

OWN = {
    "method": {"name": "lora", "rank": 4, "dropout": 0.2},
    "train": {"epochs": 2.0, "batch_size": 2, "grad_accumulation": 2, "learning_rate": 0.01, "save_every": 2,
              "eval_every": 3, "keep_checkpoints": None},
}  # fmt: skip


SHORT = {"epochs": None, "max_steps": 2, "grad_accumulation": 1}


class Run:
    """A run in its own home, whose jobs run in this process."""

    def __init__(self, tmp_path, tiny_model, **sections):
        self.home = Home(tmp_path / "home")
        self.folder = tmp_path / "home" / "runs" / "0001-tiny"
        self.data = tmp_path / "faq.jsonl"
        rows = [
            chat(f"What is {n}?" + " Say it." * (n % 5), f"It is {n * n}." + " Yes." * (n % 3))
            for n in range(1, 17)
        ]
        write_rows(self.data, rows)
        write_suite(self.home.root)
        self.settings = json.loads(recipe_text(tiny_model, self.data, IN_SUITE, OWN, sections))
        self.jobs = 0

    def job(self, step=None, **train):
        """Train from the beginning, or resume from a step with other random numbers. Return the end and the events."""
        settings = {**self.settings, "train": {**self.settings["train"], **train}}
        recipe = resolve_text(json.dumps(settings)).recipe
        self.jobs += 1
        folder = self.folder / "jobs" / f"{self.jobs:04d}-train"
        point = None
        if step is not None:
            random.seed(99)
            torch.manual_seed(99)
            where = checkpoint.folder_of(self.folder, step)
            point = ResumePoint(step, where, folder, earlier=read_earlier_jobs(self.folder, folder))
        return tiny_run.train(recipe, folder, self.home, self.folder, point=point)

    def held(self, step):
        """Return what the model held at a step, if that differs from what is saved; empty for whole models."""
        return (
            state_files.load(checkpoint.folder_of(self.folder, step) / training_state.STATE)["weights"] or {}
        )

    def weights(self, step):
        folder = checkpoint.folder_of(self.folder, step)
        return load_file(next(folder.glob("*model.safetensors")))


def are_equal(some, others):
    return some.keys() == others.keys() and all(torch.equal(some[name], others[name]) for name in some)


@pytest.mark.parametrize("began", ["float32", "bfloat16"])
def test_a_run_goes_on_in_the_format_it_began_in(tmp_path, tiny_model, monkeypatch, began):
    """Even if the CPU's other format is faster by now; and its record says which one it uses."""
    speeds = {"float32": cpu_formats.Speeds(343, 177), "bfloat16": cpu_formats.Speeds(232, 767)}
    other = "bfloat16" if began == "float32" else "float32"
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: True)
    run = Run(tmp_path, tiny_model, model={"dtype": "auto"}, train={**SHORT, "save_every": 1})
    config = tmp_path / "model" / "config.json"
    shutil.copytree(tiny_model, config.parent)
    config.write_text(json.dumps({**json.loads(config.read_text()), "dtype": "bfloat16"}))
    run.settings["model"]["id"] = str(config.parent)
    for step, faster in ((None, began), (1, other)):
        monkeypatch.setattr(cpu_formats, "measured", lambda _, faster=faster: speeds[faster])
        _, happened = run.job(step)
        (planned,) = of(events.Planned, happened)
        assert planned.dtype == began


def numbers(happened):
    """Return all training values by step, without those that depend on time and machine."""
    kept = {}
    for event in of(events.Metrics, happened):
        values = {k: v for k, v in event.values.items() if k not in ("tokens_per_s", "memory_gib")}
        kept.setdefault(event.step, {}).update(values)
    return kept


@pytest.mark.slow
@pytest.mark.parametrize(("sections", "step"), [
    ({}, 6),  # in the second epoch, whose order must not depend on dropout in the first
    ({"method": {"name": "full"}, "objective": {"neftune_alpha": 5.0}, "train": {"optimizer": "adafactor"}},
     4),
    ({"method": {"name": "adalora", "rank": 4, "first_rank": 6}, "objective": {"packing": True}}, 2),
], ids=["lora", "full", "adalora"])  # fmt: skip
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(tmp_path, tiny_model, sections, step):
    run = Run(tmp_path, tiny_model, **sections)
    ended, whole = run.job()
    assert ended.status == "finished"
    last = max(numbers(whole))
    wanted, before = run.weights(last), numbers(whole)
    ended, again = run.job(step)
    assert ended.status == "finished"
    after = numbers(again)
    assert events.Resumed(step) in again
    assert sorted(after) == [number for number in before if number > step]
    assert all(values == before[number] for number, values in after.items())
    assert are_equal(run.weights(last), wanted)


# Those that keep something else in memory than they save, as fast tests; the others take a minute together.
QUICK = {"p-tuning", "prompt-tuning", "prefix-tuning"}
PAIRS = [(name, methods.load(name).quantized[0]) for name in methods.names()]
PAIRS += [("lora", "nf4"), ("lora", "int8")]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(*pair, id="+".join(pair), marks=() if pair[0] in QUICK else pytest.mark.slow)
        for pair in PAIRS
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_every_method_goes_on_to_the_bit(tmp_path, tiny_model, name, kind):
    run = Run(
        tmp_path, tiny_model, method={"name": name, **OPTIONS.get(name, {})}, model={"quantize": kind},
        data={"eval": {"share": 0.0}},
        train={"epochs": None, "max_steps": 4, "learning_rate": 0.01, "eval_every": 1000},
    )  # fmt: skip
    before = numbers(run.job()[1])
    wanted, held = run.weights(4), run.held(4)
    after = numbers(run.job(2)[1])
    assert sorted(after) == [3, 4]
    assert all(after[number] == before[number] for number in after)
    assert before[4]["loss"] != before[3]["loss"]
    again = {**run.weights(4), **run.held(4)}
    assert are_equal({**wanted, **held}, again)


def test_changed_rows_and_a_changed_base_are_refused(tmp_path, tiny_model, capsys):
    before, now = {"a.jsonl": "1", "b.jsonl": "2"}, {"a.jsonl": "1", "b.jsonl": "3"}
    resume.require_same_data(before, dict(before), anyway=False)
    resume.require_same_data({}, now, anyway=False)
    changed = r"the rows of b\.jsonl have changed since the run began"
    with pytest.raises(BadInput, match=rf"{changed}\. Restore them"):
        resume.require_same_data(before, now, anyway=False)
    resume.require_same_data(before, now, anyway=True)
    assert "b.jsonl have changed since the run began; it continues with them" in capsys.readouterr().out


def test_going_back_removes_later_checkpoints_and_says_so(tmp_path):
    log = event_log.EventLog(tmp_path / "events.jsonl")
    for step in (2, 4, 6):
        checkpoint.folder_of(tmp_path, step).mkdir(parents=True)
    point = ResumePoint(4, checkpoint.folder_of(tmp_path, 4), tmp_path)
    with pytest.raises(BadInput, match="nothing is left to do: step 4 is done, and the run ends at 4"):
        resume.announce(point, tmp_path, 4, log)
    resume.announce(point, tmp_path, 8, log)
    log.close()
    left = sorted(folder.name for folder in (tmp_path / "checkpoints").iterdir())
    assert left == ["step-000002", "step-000004"]
    assert events.decode((tmp_path / "events.jsonl").read_bytes()).e == events.Resumed(4)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "passes"), [("grpo", 1), ("rloo", 2)])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_budgets_hold_where_answers_are_written_in_groups(tmp_path, tiny_model, name, passes):
    """A step learns from 4 answers of one token, each after its prompt of 12; evaluations do not count."""
    reward = {"rules": [{"rule": "regex", "value": "^ ?[a-m]"}]}
    options = {"generations": 2, "max_new_tokens": 1, "passes": passes, "reward": reward}
    steps = {"epochs": None, "max_steps": 999, "save_every": 999, "eval_every": 2}
    run = Run(tmp_path, tiny_model, objective={"name": name, **options}, train=steps)
    run.data.write_text('{"prompt": "What is 10?"}\n' * 16)
    run.settings["budget"] = {"tokens": 120}
    ended, happened = run.job()
    told = numbers(happened)
    assert {number: values["tokens"] for number, values in told.items()} == {1: 52, 2: 104, 3: 156}
    assert ended.cause == "budget.tokens (120) is used up: 156 tokens trained, after step 3 of 999"
    spent_s = max(event.spent_s or 0.0 for event in of(events.Phase, happened))
    run.settings["budget"] = {"hours": (spent_s + 0.1) / 3600}
    ended, happened = run.job(3)
    spent = [event.spent_s for event in of(events.Phase, happened) if event.spent_s is not None]
    assert spent == sorted(spent) and spent[0] > spent_s, "the second job adds to what the first has spent"
    last = max(numbers(happened))
    assert numbers(happened)[4]["tokens"] == 208, "of the job before, and of this"
    assert ended.cause.startswith("budget.hours (") and ended.cause.endswith(f", after step {last} of 999")
    assert checkpoint.is_resumable(checkpoint.folder_of(run.folder, last))


PATIENT = {
    **SHORT, "max_steps": 40, "save_every": 5, "eval_every": 2, "keep_checkpoints": 1, "keep": "best",
    "stop_early": {"patience": 3}, "learning_rate": 0.5, "schedule": "constant", "warmup_steps": 0,
}  # fmt: skip


def losses(happened):
    found = {step: values.get("eval_loss") for step, values in numbers(happened).items()}
    return {step: value for step, value in found.items() if value is not None}


@pytest.mark.slow
def test_a_run_stops_early_keeps_its_best_and_is_the_same_after_a_resume(tmp_path, tiny_model, capsys):
    """At too high a rate the loss soon rises. Interrupted before that, it ends at the same step with the same best."""
    run = Run(tmp_path, tiny_model, train=PATIENT)
    ended, whole = run.job()
    told = losses(whole)
    last, best = max(told), min(told, key=lambda step: (told[step], step))
    assert ended.status == "finished" and last < 40 and best == last - 6
    assert ended.cause == (
        f"stopped early at step {last}: eval_loss did not improve on {told[best]:.4g} (step {best}) in 3 evaluations"
    )
    assert ended.cause in capsys.readouterr().out
    (kept,) = of(events.Best, whole)
    assert (kept.step, kept.values) == (best, {"eval_loss": told[best]})
    assert kept.text == f"step {best}: the lowest eval_loss ({told[best]:.4g}) of {len(told)} evaluations"
    there = [checkpoint.step_of(folder) for folder in checkpoint.complete(run.folder)]
    assert there == [best, last], "the best is spared, the newest is there to go on from"
    weights, at_last = run.weights(best), run.weights(last)

    # From the best on, as after a crash: patience and the best so far come from the earlier jobs.
    ended_again, again = run.job(best)
    assert ended_again == ended
    assert losses(again) == {step: value for step, value in told.items() if step > best}
    (kept_again,) = of(events.Best, again)
    assert kept_again == kept
    assert are_equal(run.weights(best), weights) and are_equal(run.weights(last), at_last)

    # From where it ended nothing is left to do, unless it is given more patience.
    used_up = r"train\.stop_early\.patience \(3\) is used up: stopped early at step"
    with pytest.raises(BadInput, match=used_up):
        run.job(last)
    _, more = run.job(last, stop_early={"patience": 4}, max_steps=last + 2)
    told |= losses(more)
    assert list(losses(more)) == [last + 2]
    best = min(told, key=lambda step: (told[step], step))
    assert [event.step for event in more if isinstance(event, events.Best)] == [best]


@pytest.mark.slow
def test_an_evaluation_that_a_stop_left_out_is_made_up_for(tmp_path, tiny_model, monkeypatch):
    """A stop saves first and does not evaluate: the resumed run still has the same evaluations."""
    gentle = {**PATIENT, "learning_rate": 0.01, "max_steps": 8, "stop_early": None}
    run = Run(tmp_path, tiny_model, train=gentle)
    told, wanted = losses(run.job()[1]), run.weights(8)
    (tmp_path / "other").mkdir()
    other = Run(tmp_path / "other", tiny_model, train=gentle)

    def asked_at_4(pacer, step):
        if step == 4:
            pacer.stop.reason = "asked to stop"

    with monkeypatch.context() as patched:
        patched.setattr(callbacks.Pacer, "_look_at_disk", asked_at_4)
        ended, first = other.job()
    assert (ended.status, sorted(losses(first))) == ("stopped", [2])
    ended, second = other.job(4)
    assert losses(first) | losses(second) == told
    assert are_equal(other.weights(8), wanted)


@pytest.mark.parametrize("name", ["ppo", "grpo"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_reward_that_does_not_rise_ends_a_run(tmp_path, tiny_model, name):
    """An answer of one token never has three words: its reward stays at 0, and the first evaluation is the best."""
    reward = {"rules": [{"rule": "min_words", "value": 3}]}
    groups = {"generations": 2} if name == "grpo" else {}
    run = Run(
        tmp_path, tiny_model, method={"name": "lora", "rank": 4},
        objective={"name": name, "max_new_tokens": 1, "reward": reward, **groups},
        train={"epochs": None, "max_steps": 20, "save_every": 100, "eval_every": 1, "keep": "best",
               "stop_early": {"metric": "reward", "patience": 2}},
    )  # fmt: skip
    run.data.write_text('{"prompt": "What is 10?"}\n' * 16)
    ended, happened = run.job()
    words = "stopped early at step 3: eval_reward did not improve on 0 (step 1) in 2 evaluations"
    assert ended == events.Ended("finished", words)
    (best,) = of(events.Best, happened)
    assert (best.step, best.values) == (1, {"eval_reward": 0.0})
    (again,) = of(events.Best, run.job(1)[1])
    assert again == best
