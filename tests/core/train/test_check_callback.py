"""Checks while a model trains: on a tiny model from the base's scores to the verdicts, and what follows from them."""

import json
import os
import random
import signal

import msgspec
import numpy
import pytest
import tiny_run
import torch
from choice_suite import with_golds, write_choice_suite
from peft import LoraConfig, get_peft_model
from tiny_run import chat, of, read_events, write_rows
from transformers import AutoModelForCausalLM

from finetop.core.check import run_check as check_job, scoring_passes
from finetop.core.check.checked_weights import compared
from finetop.core.errors import BadInput
from finetop.core.models import checkpoint
from finetop.core.protocol import events
from finetop.core.protocol.check_result import read
from finetop.core.recipe.load import recipe_to_mapping, resolve_text
from finetop.core.runtime import event_log, stop_signal
from finetop.core.runtime.home import Home
from finetop.core.train import check_callback

ROWS = [chat(f"What is {n}?", f"{n * n}.") for n in range(1, 25)]
# The first step of a warm-up has the learning rate 0: certainly OK. The second and third destroy the model.
DESTRUCTIVE = {
    "train": {"epochs": None, "max_steps": 3, "learning_rate": 1.0, "warmup_steps": 3, "keep_checkpoints": 1},
    "method": {"name": "full"},
}
SAME = ("verdict", "drop", "items_used", "lost", "won", "plan_hash")


@pytest.fixture(scope="module")
def items(tiny_model):
    """Return sixty questions that the untuned model answers right: each gold answer is its own."""
    chance = random.Random(1)
    return with_golds(tiny_model, [
        {"id": f"n{n}", "question": f"What is the shop number {n}, and is it",
         "choices": ["".join(chance.choices("abcdeghi", k=5)) for _ in range(3)]}
        for n in range(60)
    ])  # fmt: skip


@pytest.fixture
def home(tmp_path, items):
    home = Home(tmp_path / "home")
    write_choice_suite(home.root, {"shop": items})
    write_rows(tmp_path / "faq.jsonl", ROWS)
    return home


@pytest.fixture
def stop():
    before = signal.getsignal(signal.SIGTERM)
    yield stop_signal.listen()
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def train(home, stop, tiny_model):
    """Train a new run from sections of a recipe: 6 steps of LoRA, with a check at every second one."""
    own = {
        "method": {"name": "lora", "dropout": 0.1},
        "train": {"max_steps": 6},
        "check": {"every": 2, "general": {"suite": "tiny"}},
    }
    count = iter(range(1, 9))

    def run(**sections):
        recipe = tiny_run.recipe_of(tiny_model, home.root.parent / "faq.jsonl", own, sections)
        folder = home.root / "runs" / f"000{next(count)}-tiny"
        stop.is_training, stop.reason = False, ""
        trained = tiny_run.train(recipe, folder, home, stop=stop)
        stop.is_training = False
        return tiny_run.Trained(recipe, folder, *trained)

    return run


def checked_again(run, verdict, home):
    """Check a verdict's checkpoint as a job does: the same result. Return it and the events."""
    log = event_log.EventLog(run.folder / "check.jsonl")
    folder = run.folder / verdict.result["checkpoint"]
    result = check_job.check(run.recipe, folder, home, "cpu", log, claim=1)
    log.close()
    for key in ("verdict", "drop", "items_used", "lost", "won", "plan_hash"):
        assert getattr(result, key) == verdict.result[key], key
    return result, read_events(run.folder, "check.jsonl")


def scores_of(model, happened):
    told = [event for event in of(events.Scores, happened) if event.model == model]
    return {item.item: item.answer_log_prob for event in told for item in event.items}


def are_near(some, others):
    return all(some[item] == pytest.approx(others[item], abs=1e-6) for item in others)


def phases(happened):
    return {phase.name for phase in of(events.Phase, happened)}


def verdicts(run):
    return {v.step: (v.result["verdict"], v.result["claim"]) for v in run.of(events.Verdict)}


def kept(run):
    return [folder.name for folder in checkpoint.complete(run.folder)]


@pytest.mark.slow
def test_training_goes_on_bit_for_bit_as_if_nothing_had_looked(train, home):
    plain, checked = train(check={"every": None}), train()
    for key in ("loss", "grad_norm", "eval_loss"):
        assert plain.curve(key) == checked.curve(key), key
    assert [(step, claim) for step, (_, claim) in verdicts(checked).items()] == [(2, 1), (4, 2), (6, 3)]
    assert not plain.of(events.Verdict)
    # Each verdict names a checkpoint that was written before it.
    told = checked.of(events.Checkpoint | events.Verdict)
    for step in (2, 4, 6):
        written, verdict = [event for event in told if event.step == step]
        assert isinstance(written, events.Checkpoint)
        assert (checked.folder / verdict.result["checkpoint"]).is_dir()
        assert verdict.result["general"]["suite"] == "tiny"
        assert verdict.result["models"]["base"]["weights"]
    # It holds the hashes of both, so it speaks of no other weights that may come to lie there.
    recipe = recipe_to_mapping(checked.recipe)
    results = [verdict.result for verdict in checked.of(events.Verdict)]
    folders = {result["step"]: checked.folder / result["checkpoint"] for result in results}

    def weights_now():
        return [made["weights_now"] for made in compared(results, folders, recipe, home, hashes=True)]

    assert weights_now() == ["same", "same", "same"]
    (folders[4] / "adapter_model.safetensors").write_bytes(b"others")
    assert weights_now() == ["same", "changed", "same"]
    # The base is reported once, the tuned model's items by step.
    scores = checked.of(events.Scores)
    assert {event.step for event in scores if event.model == "base"} == {None}
    assert sum(len(event.items) for event in scores if event.model == "base") == 60
    assert {event.step for event in scores if event.model == "tuned"} == {2, 4, 6}


@pytest.mark.slow
@pytest.mark.parametrize(("method", "told_of_base"), [("lora", "measuring base"), ("full", "scoring base")])
def test_a_base_that_can_be_had_later_is_scored_as_it_is_asked_for(train, home, method, told_of_base):
    rows = [
        {"id": f"n{n}", "question": f"What is {n}?", "choices": [f"{n}", f"{n + 1}", "none"], "gold": n % 3}
        for n in range(260)
    ]
    write_choice_suite(home.root, {"shop": rows})
    run = train(
        method={"name": method},
        check={"every": 2, "general": {"suite": "tiny", "margin": 20.0}},
        train={"max_steps": 3, "learning_rate": 1e-2, "schedule": "constant"},
    )
    (verdict,) = run.of(events.Verdict)
    assert told_of_base in phases(run.told)
    in_training = scores_of("base", run.told)
    assert verdict.result["items_used"] < 160, "the check went on too long to show anything"
    assert len(in_training) == 260 if method == "full" else 100 < len(in_training) < 260
    # A check of the checkpoint, with an empty cache, finds exactly the same base.
    for file in home.scores.glob("*.jsonl"):
        file.unlink()
    from_disk = scores_of("base", checked_again(run, verdict, home)[1])
    assert from_disk.keys() <= in_training.keys()
    assert are_near(in_training, from_disk)


def test_a_base_that_is_tuned_beside_its_adapter_is_not_there_later(tiny_model):
    plain = AutoModelForCausalLM.from_pretrained(tiny_model)
    assert not check_callback.has_its_base(plain)
    parts = {"target_modules": ["q_proj"], "modules_to_save": ["input_layernorm"]}
    adapted = get_peft_model(plain, LoraConfig(task_type="CAUSAL_LM", r=2, **parts))
    assert check_callback.has_its_base(adapted)
    adapted.get_base_model().model.norm.weight.requires_grad_(True)
    assert not check_callback.has_its_base(adapted)


@pytest.mark.parametrize(
    ("method", "dtype"),
    [("lora", "bfloat16"), ("full", "float32")],  # the trainer wraps bfloat16 for autocast
)
def test_a_check_on_the_way_says_what_a_check_of_its_checkpoint_says(train, home, method, dtype):
    steps = {"max_steps": 5, "learning_rate": 0.3, "schedule": "constant"}
    run = train(model={"dtype": dtype}, method={"name": method}, check={"every": 4}, train=steps)
    (verdict,) = run.of(events.Verdict)
    cached = {file: file.read_bytes() for file in home.scores.glob("*.jsonl")}
    assert cached, "the base's scores are kept"
    after, told = checked_again(run, verdict, home)
    assert not phases(told) & {"measuring base", "scoring base and tuned"}, "its scores were in the cache"
    assert after.claim == verdict.result["claim"]
    assert after.lost + after.won > 0, "nothing moved: the comparison would be empty"
    assert after.drift.tuned == pytest.approx(verdict.result["drift"]["tuned"], abs=1e-6)
    for file, text in cached.items():
        assert file.read_bytes() == text, "a model in memory left no score behind"
    memory, disk = scores_of("tuned", run.told), scores_of("tuned", told)
    assert memory.keys() == disk.keys()
    assert are_near(memory, disk)


def test_flag_is_an_alarm_and_training_goes_on(train):
    run = train(**DESTRUCTIVE, check={"every": 1})
    assert run.ended == events.Ended("finished")
    assert verdicts(run) == {1: ("ok", 1), 2: ("regressed", 2), 3: ("regressed", 3)}
    alarms = [alarm for alarm in run.of(events.Alarm) if alarm.kind == "regressed"]
    assert [alarm.step for alarm in alarms] == [2, 3]
    assert alarms[0].text.startswith("REGRESSED at step 2: ")
    assert not run.of(events.Best)


def test_stop_ends_training_with_that_checkpoint(train):
    run = train(**DESTRUCTIVE, check={"every": 1, "on_fail": "stop"})
    assert run.ended.status == "stopped"
    assert run.ended.cause.startswith("REGRESSED at step 2: ")
    assert run.ended.cause.endswith("(check.on_fail is stop), after step 2 of 3")
    assert sorted(run.curve("loss")) == [1, 2]
    assert kept(run) == ["step-000002"]
    assert [alarm.step for alarm in run.of(events.Alarm)] == [2]


def test_keep_best_goes_on_and_keeps_the_checkpoint_that_is_ok(train, capsys):
    run = train(**DESTRUCTIVE, check={"every": 1, "on_fail": "keep-best", "at_end": True})
    assert run.ended == events.Ended("finished")
    assert [word for word, _ in verdicts(run).values()] == ["ok", "regressed", "regressed"]
    (best,) = run.of(events.Best)
    assert best.step == 1
    assert best.text.startswith("step 1: OK, with the lowest evaluation loss (")
    assert not run.of(events.Alarm)
    assert kept(run) == ["step-000001", "step-000003"], "1 is spared"
    assert set(run.curve("eval_loss")) == {1, 2, 3}, "every checked checkpoint has its evaluation loss"
    assert "checks during training: 3, " in capsys.readouterr().out


def test_keep_best_says_that_nothing_is_ok(train):
    run = train(**DESTRUCTIVE, check={"every": 2, "on_fail": "keep-best", "at_end": True})
    assert sorted(verdicts(run)) == [2, 3], "the last one may be the best: it is checked too"
    (alarm,) = run.of(events.Alarm)
    assert alarm.text.startswith("NO CHECKPOINT is OK: none of the 2 that were checked")
    assert not run.of(events.Best)


def test_sigterm_breaks_a_check_off_and_training_ends_with_its_checkpoint(train, monkeypatch):
    real, seen = scoring_passes.score_batch, []

    def killed_on_the_way(prepared, scored_model, batch, following=None):
        if scored_model.name == "tuned":
            seen.append(batch)
            os.kill(os.getpid(), signal.SIGTERM)
        return real(prepared, scored_model, batch, following)

    monkeypatch.setattr(scoring_passes, "score_batch", killed_on_the_way)
    run = train()
    assert len(seen) == 1, "the check went on after the signal"
    assert (run.ended.status, run.ended.cause) == ("stopped", "asked to stop, after step 2 of 6")
    assert not run.of(events.Verdict)
    assert kept(run) == ["step-000002"]


def test_out_of_memory_scores_an_adapters_base_again_and_gives_up_on_full_weights(train, monkeypatch):
    real, used = scoring_passes.score_batch, []

    def short_of_memory(prepared, scored_model, batch, following=None):
        used.append((scored_model.name, scored_model.plan.row_tokens))
        if used[-1] == ("tuned", 512):
            raise MemoryError
        return real(prepared, scored_model, batch, following)

    monkeypatch.setattr(scoring_passes, "score_batch", short_of_memory)
    assert verdicts(train(check={"every": 3})).keys() == {3, 6}
    assert ("base", 256) in used
    full = train(check={"every": 3}, method={"name": "full"})
    assert full.ended == events.Ended("finished")
    assert not full.of(events.Verdict)
    assert {alarm.step for alarm in full.of(events.Alarm)} == {3, 6}


def test_the_model_is_put_back_as_it_was():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.5), torch.nn.Linear(2, 2))
    plain = check_callback.own_forwards(model)
    model.train()
    model[1].training = False
    model[0].weight.requires_grad_(False)
    model.forward = lambda rows: "wrapped"
    torch.manual_seed(3), random.seed(3), numpy.random.seed(3)
    expected = (torch.rand(1).item(), random.random(), numpy.random.rand())
    torch.manual_seed(3), random.seed(3), numpy.random.seed(3)
    with pytest.raises(ValueError, match="midway"), check_callback.undisturbed(model, plain):
        assert not any(module.training for module in model.modules())
        assert isinstance(model(torch.ones(1, 2)), torch.Tensor)
        torch.rand(9), random.random(), numpy.random.rand()
        model[0].weight.requires_grad_(True)
        raise ValueError("midway")
    assert (torch.rand(1).item(), random.random(), numpy.random.rand()) == expected
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert model(torch.ones(1, 2)) == "wrapped"
    assert not model[0].weight.requires_grad


def way_with(outcomes, losses, on_fail="keep-best", **more):
    plain = {"reason": "", "margin": 0.03, "items_used": 1, "items_total": 1}
    check = {"every": 2, "on_fail": on_fail, **more}
    recipe = resolve_text(json.dumps({"recipe": 1, "name": "x", "check": check})).recipe
    way = check_callback.TrainingChecks(
        recipe.check, None, None, None, {}, stop_signal.Stop(), None, 0.0, 0.0
    )
    way.outcomes = {step: read({"verdict": word, **plain}) for step, word in outcomes.items()}
    way.eval_losses = losses
    return way


def test_the_best_is_the_ok_one_with_the_lowest_loss_and_is_never_removed(tmp_path):
    said = {2: "ok", 4: "ok", 6: "regressed", 8: "ok", 10: "no_verdict"}
    nan = float("nan")
    assert check_callback.best_step(way_with(said, {2: 1.5, 4: 1.2, 6: 0.1, 8: 1.3})) == 4
    assert check_callback.best_step(way_with(said, {2: 1.2, 4: 1.2, 8: nan})) == 4
    assert check_callback.best_step(way_with(said, {})) == 8
    assert check_callback.best_step(way_with({2: "regressed"}, {2: 0.1})) is None
    assert check_callback.spared(way_with(said, {2: 1.0, 4: 1.2})) == {2, 8}
    assert check_callback.spared(way_with(said, {2: 1.0}, on_fail="flag")) == set()
    for step in range(2, 12, 2):
        folder = checkpoint.folder_of(tmp_path, step)
        folder.mkdir(parents=True)
        (folder / "weights").touch()
        (folder / checkpoint.MANIFEST).write_bytes(msgspec.json.encode({"files": {"weights": 0}}))
    checkpoint.prune(tmp_path, 1, {4})
    assert [folder.name for folder in checkpoint.complete(tmp_path)] == ["step-000004", "step-000010"]


def test_the_last_step_is_left_to_the_check_at_the_end_unless_the_best_is_kept():
    due = [step for step in range(1, 9) if check_callback.is_due(way_with({}, {}, on_fail="flag"), step, 8)]
    assert due == [2, 4, 6]
    way = way_with({}, {}, on_fail="flag", at_end=False)
    assert [step for step in range(1, 10) if check_callback.is_due(way, step, 9)] == [2, 4, 6, 8]
    assert check_callback.is_due(way, 8, 8)
    assert check_callback.is_due(way_with({}, {}), 9, 9)
    quarter = way_with({}, {}, on_fail="flag", every=0.25)
    assert [step for step in range(1, 19) if check_callback.is_due(quarter, step, 18)] == [4, 8, 12, 16]


def test_the_target_at_checks_on_the_way_ends_a_run_and_chooses_its_checkpoint(train, home):
    """The first step has rate 0, the next ones destroy the model: nats/token only rise."""
    watched = {"max_steps": 9, "keep": "best", "stop_early": {"metric": "target", "patience": 2}}
    target = {"path": str(home.root.parent / "faq.jsonl")}
    sections = {**DESTRUCTIVE, "train": {**DESTRUCTIVE["train"], **watched}}
    run = train(**sections, check={"every": 1, "target": target, "at_end": True})
    scores = {v.step: v.result["target"]["nats_per_token"]["tuned"] for v in run.of(events.Verdict)}
    assert sorted(scores) == [1, 2, 3] and scores[1] < min(scores[2], scores[3])
    why = f"target nats_per_token did not improve on {scores[1]:.4g} (step 1) in 2 checks"
    assert run.ended == events.Ended("finished", f"stopped early at step 3: {why}")
    (best,) = run.of(events.Best)
    assert (best.step, best.values) == (1, {})
    assert best.text == f"step 1: the lowest target nats_per_token ({scores[1]:.4g}) of 3 checks"
    assert kept(run) == ["step-000001", "step-000003"]


@pytest.mark.slow
def test_a_target_that_cant_be_measured_is_said_at_once_and_the_verdicts_come(train, home):
    check = {"every": 3, "target": {"path": str(home.root.parent / "gone.jsonl")}}
    run = train(check=check)
    assert run.ended == events.Ended("finished")
    assert sorted(verdicts(run)) == [3, 6]
    (alarm,) = run.of(events.Alarm)
    assert alarm.step == 0 and alarm.text.startswith("TARGET can't be measured, the verdict can: ")
    assert alarm.text.endswith("gone.jsonl: no such file.")
    says = r"train\.stop_early watches the target, which can't be measured: .*gone"
    with pytest.raises(BadInput, match=says):
        train(check=check, train={"stop_early": {"metric": "target"}})


def test_the_target_of_a_new_model_is_measured_at_evaluations(train, home):
    """It has no base to compare with."""
    texts = home.root.parent / "texts.jsonl"
    write_rows(texts, [{"text": f"The shop opens at {n}. " * 3} for n in range(24)])

    def measured(target):
        return train(
            method={"name": "full"}, data={"train": [{"path": str(texts)}]},
            objective={"name": "pretrain", "layers": 1, "hidden_size": 32, "heads": 2, "vocabulary": 300},
            check={"at_end": False, "every": None, "general": None, "target": target},
            train={"eval_every": 3, "learning_rate": 0.01},
        )  # fmt: skip

    run = measured({"path": str(texts)})
    scores = run.curve("target_nats_per_token")
    assert sorted(scores) == [3, 6] and scores[6] < scores[3]
    assert [source.use for source in run.of(events.SourceRead)].count("test") == 1
    alone = measured(None)
    for key in ("loss", "eval_loss"):
        assert alone.curve(key) == run.curve(key), "measuring changes nothing"
    gone = measured({"path": f"{texts}.gone"})
    assert gone.ended == events.Ended("finished")
    (alarm,) = gone.of(events.Alarm)
    assert alarm.step == 0 and alarm.text.startswith("TARGET can't be measured: ")


@pytest.mark.slow
def test_without_a_check_the_target_is_measured_before_and_after_training(train, home):
    off = {"every": None, "general": None, "target": {"path": str(home.root.parent / "faq.jsonl")}}
    run = train(check={**off, "at_end": True})
    scores = run.curve("target_nats_per_token")
    last = max(event.step for event in run.of(events.Metrics))
    assert sorted(scores) == [0, last] and scores[last] < scores[0]
    unchecked = train(check={**off, "at_end": False, "general": {"suite": "three"}})
    assert unchecked.curve("target_nats_per_token") == scores, "no check measures it there either"
    alone = train(check={**off, "target": None})
    assert alone.curve("loss") == run.curve("loss"), "measuring changes nothing"
