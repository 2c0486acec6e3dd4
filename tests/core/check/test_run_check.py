"""The check job as its keeper starts it: a real process, an adapter that changes nothing, one that does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from drawn import drawn
from tiny_run import chat, of, read_events, write_rows
from waiting import TORCH_LIMIT_S

from finetop.core import run_job
from finetop.core.check import context, run_check, scoring_passes
from finetop.core.check.scoring import target
from finetop.core.errors import FinetopError
from finetop.core.protocol import check_result, events
from finetop.core.recipe.load import recipe_from_mapping
from finetop.core.runtime import event_log, job_folder, stop_signal
from finetop.core.runtime.home import Home
from finetop.core.wording import verdicts

if TYPE_CHECKING:
    from pathlib import Path

# PEFT uses an attribute that transformers renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

BROKEN = 40.0  # an adapter with weights this large ruins its model
GENERAL = {"suite": "tiny", "margin": 10.0}


@pytest.fixture
def home(suite_folder):
    return suite_folder.parent


@pytest.fixture
def checkpoint(home):
    """The folder of the run's checkpoint at step 20, which is not there yet."""
    return home / "runs" / "0001-run" / "checkpoints" / "step-000020"


def make_job(
    home: Path, tiny_model: Path, number: int, recipe: dict[str, Any] | None = None, **args: Any
) -> Path:
    """Write HOME/runs/0001-run/jobs/N-check/job.json for the checkpoint at step 20."""
    folder = home / "runs" / "0001-run" / "jobs" / f"{number:04d}-check"
    folder.mkdir(parents=True)
    rows = [*(chat(f"Hi {n}", "yes we do") for n in range(6)), chat("Say 3 in a word.", "three")]
    path = str(write_rows(home / "rows.jsonl", rows))
    rules = [{"rule": "max_words", "value": 500}]
    target = {"path": path, "metric": ["nats_per_token", "rules"], "rules": rules}
    whole = {
        "recipe": 1, "name": "run", "model": {"id": str(tiny_model), "dtype": "float32"},
        "method": {"name": "lora"}, "objective": {"name": "sft"}, "data": {"train": [{"path": path}]},
        "check": {"general": GENERAL, "target": target}, **(recipe or {}),
    }  # fmt: skip
    spec = {"format": 1, "job_id": number, "run_id": 1, "run_name": "run", "verb": "check", "recipe": whole}
    spec["args"] = {"checkpoint": "checkpoints/step-000020", "step": 20, **args}
    (folder / "job.json").write_bytes(msgspec.json.encode(spec))
    return folder


def start(folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    with (folder / "log.txt").open("ab") as log:
        command = [sys.executable, "-m", "finetop.core.run_job", str(folder)]
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def work(folder: Path, stop: stop_signal.Stop | None = None) -> events.Ended:
    """Run the job in this process."""
    log = event_log.EventLog(folder / "events.jsonl")
    return run_job.work(job_folder.read_spec(folder), folder, log, stop or stop_signal.Stop())


def run_to_its_end(folder: Path) -> list[Any]:
    """Run the job in a process of its own; return its events."""
    assert start(folder).wait(TORCH_LIMIT_S) == 0, (folder / "log.txt").read_text()
    return read_events(folder)


def result_in(happened: list[Any]) -> check_result.CheckResult:
    (verdict,) = of(events.Verdict, happened)
    return check_result.read(verdict.result)


@pytest.mark.slow
def test_a_check_from_job_to_verdict(home, checkpoint, tiny_model, save_adapter, warm):
    save_adapter(checkpoint, 0.0)
    first = make_job(home, tiny_model, 1)
    happened = run_to_its_end(first)
    assert isinstance(happened[0], events.Started)
    assert happened[-1] == events.Ended("finished")
    outcome = result_in(happened)
    assert (outcome.verdict, outcome.drop, outcome.lost, outcome.won) == ("ok", 0.0, 0, 0), outcome.reason
    assert (of(events.Verdict, happened)[0].step, outcome.step, outcome.suite) == (20, 20, "tiny")
    assert outcome.contamination.by_task == {"orders": 1}
    assert outcome.noise_floor is not None and outcome.noise_floor.items > 0
    assert outcome.drift is not None and outcome.drift.kl == pytest.approx(0, abs=1e-6)
    assert outcome.drift.base == outcome.drift.tuned
    assert outcome.target["rules"].base == outcome.target["rules"].tuned
    assert outcome.target["nats_per_token"].low == outcome.target["nats_per_token"].high == 0
    scores = of(events.Scores, happened)
    base_items = [(s.task, item.item) for s in scores if s.model == "base" for item in s.items]
    assert len(base_items) == len(set(base_items)) == 40 + 30 + 12 - 1  # all but those in the training data
    assert "run at step 20, suite tiny" in (first / "log.txt").read_text()

    # An adapter that ruins the model, against a base that is known by now; all items are asked.
    save_adapter(checkpoint, BROKEN)
    second = make_job(home, tiny_model, 2, more=[])
    assert work(second) == events.Ended("finished")
    happened = read_events(second)
    ruined = result_in(happened)
    assert ruined.items_used == ruined.items_total == 40 + 30
    assert (ruined.decided_by, ruined.plan_hash) == ("arithmetic", outcome.plan_hash)
    assert any("every item of the suite was scored" in note for note in ruined.notes)
    assert ruined.target["nats_per_token"].base != ruined.target["nats_per_token"].tuned
    assert ruined.drift is not None and ruined.drift.tuned != ruined.drift.base
    assert ruined.drift.kl is not None and ruined.drift.kl > 0.01
    assert ruined.flips and ruined.lost + ruined.won > 0
    assert ruined.target["nats_per_token"].base == outcome.target["nats_per_token"].base
    assert sum(len(s.items) for s in of(events.Scores, happened) if s.model == "base") == len(base_items)
    base, tuned = (
        {s.key for s in of(events.Scores, happened) if s.model == name} for name in ("base", "tuned")
    )
    assert base == {s.key for s in scores if s.model == "base"}
    assert not base & tuned
    of_base = {"measuring base", "scoring base and tuned", "noise floor"}
    assert not {phase.name for phase in of(events.Phase, happened)} & of_base


@pytest.mark.slow
def test_the_time_left_is_that_of_all_phases(home, checkpoint, tiny_model, save_adapter, monkeypatch):
    """While the base is measured, all that the tuned model will be asked is still ahead."""
    monkeypatch.setattr(scoring_passes, "SLOWEST_PHASE_S", 0.0)
    ticks = count()  # the time is a number of looks at the clock: the pace changes on no machine
    monkeypatch.setattr(scoring_passes, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    save_adapter(checkpoint, BROKEN)
    folder = make_job(home, tiny_model, 1, more=[])
    assert work(folder) == events.Ended("finished")
    ahead: dict[str, list[float]] = {}
    for phase in of(events.Phase, read_events(folder)):
        if phase.left_s is not None and phase.per_s:
            ahead.setdefault(phase.name, []).append(phase.left_s * phase.per_s)
    assert min(ahead["measuring base"]) > 40 + 30 + 12
    pairs = next(items for name, items in ahead.items() if name.startswith("scoring"))
    assert pairs[-1] < pairs[0]


@pytest.mark.slow
def test_a_full_checkpoint_that_is_the_base_shares_its_scores(home, checkpoint, tiny_model, warm):
    checkpoint.parent.mkdir(parents=True)
    checkpoint.symlink_to(tiny_model)
    happened = run_to_its_end(make_job(home, tiny_model, 1, {"method": {"name": "full"}}))
    assert result_in(happened).drop == 0.0
    assert len({s.key for s in of(events.Scores, happened)}) == 3  # one per task


def test_failures_say_cause_and_hint(home, checkpoint, tiny_model):
    checkpoint.mkdir(parents=True)
    folder = make_job(home, tiny_model, 1, {"check": {"general": {"suite": "tinny"}}})
    with pytest.raises(FinetopError) as caught:
        work(folder)
    assert (caught.value.message, caught.value.hint) == ("there is no suite 'tinny'.", "Did you mean tiny?")
    assert caught.value.exit_code == 2


def test_sigterm_stops_and_keeps_scores(home, checkpoint, tiny_model, save_adapter, noted):
    save_adapter(checkpoint, 0.0)
    folder = make_job(home, tiny_model, 1)

    def terminate(entry: Any) -> None:
        if any((home / "scores").glob("*.jsonl")):
            os.kill(os.getpid(), signal.SIGTERM)

    noted.before = terminate
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert work(folder, stop_signal.listen()).status == "stopped"
    finally:
        signal.signal(signal.SIGTERM, before)
    assert any(file.stat().st_size for file in (home / "scores").glob("*.jsonl"))


@pytest.mark.slow
def test_looks_that_are_joined_to_fill_a_gpu_decide_alike(
    home, checkpoint, tiny_model, save_adapter, monkeypatch, noted
):
    suite = home / "suites" / "tiny.yaml"
    suite.write_text(suite.read_text().replace("cap: 40", "cap: 400"))
    rows = [
        {"id": str(n), "question": f"Is {n}", "choices": [f"{7 * n}", f"{n} open"], "gold": n % 2}
        for n in range(400)
    ]
    write_rows(home / "suites" / "numbers.jsonl", rows)
    save_adapter(checkpoint, BROKEN)
    folder = make_job(home, tiny_model, 1)
    recipe = recipe_from_mapping(job_folder.read_spec(folder).recipe, "job.json")

    def outcome(number: int) -> tuple[check_result.CheckResult, list[int]]:
        noted.seen.clear()
        events = event_log.EventLog(home / f"events-{number}.jsonl")
        result = run_check.check(recipe, checkpoint, Home(home), "cpu", events)
        return msgspec.structs.replace(result, seconds=0.0), [len(batch.items) for *_, batch in noted.seen]

    look_by_look, small = outcome(1)
    monkeypatch.setattr(context, "filled", lambda _device: 8000)
    joined, large = outcome(2)
    assert joined == look_by_look
    assert look_by_look.items_used < look_by_look.items_total and look_by_look.lost
    assert len(large) < len(small) and max(large) > max(small)


@pytest.mark.slow
def test_out_of_memory_scores_both_models_again_in_smaller_batches(
    home, checkpoint, tiny_model, save_full, noted
):
    save_full(checkpoint, 9)
    whole = {"method": {"name": "full"}, "check": {"general": {"suite": "tiny"}}}
    folder = make_job(home, tiny_model, 1, whole)

    def run_short_of_memory(entry: Any) -> None:
        if entry[:2] == ("tuned", 512):
            raise MemoryError

    noted.before = run_short_of_memory
    assert work(folder) == events.Ended("finished")
    result = result_in(read_events(folder))
    assert {name: facts["row_tokens"] for name, facts in result.models.items()} == {"base": 256, "tuned": 256}
    assert {("base", 256), ("tuned", 256)} <= {entry[:2] for entry in noted.seen}
    scores = of(events.Scores, read_events(folder))
    last = {(s.model, s.task, item.item): s.key for s in scores for item in s.items}
    assert len({key for (model, *_), key in last.items() if model == "base"}) == 3  # all from the last plan


@pytest.mark.parametrize("quantize", drawn(["nf4", "int8"], 1, marks=[pytest.mark.slow]))
def test_a_check_in_fewer_bits(home, checkpoint, tiny_model, save_adapter, quantize):
    """An adapter that changes nothing changes nothing with a quantized base either, nor does drift."""
    save_adapter(checkpoint, 0.0)
    model = {"id": str(tiny_model), "dtype": "float32", "quantize": quantize}
    folder = make_job(home, tiny_model, 1, {"model": model})
    happened = run_to_its_end(folder)
    outcome = result_in(happened)
    assert (outcome.verdict, outcome.drop, outcome.lost, outcome.won) == ("ok", 0.0, 0, 0), outcome.reason
    assert outcome.drift is not None and outcome.drift.base == outcome.drift.tuned
    for name in ("base", "tuned"):
        assert outcome.models[name]["quantize"].startswith(f"{quantize}, bitsandbytes ")
    log = (folder / "log.txt").read_text()
    assert "gemm_4bit" not in log and "will be cast" not in log

    # The same in full precision has other scores, and other drift.
    of_plain = run_to_its_end(make_job(home, tiny_model, 2))
    whole = result_in(of_plain)
    assert whole.drift is not None and whole.drift.base != outcome.drift.base
    assert not {s.key for s in of(events.Scores, happened)} & {s.key for s in of(events.Scores, of_plain)}


@pytest.mark.skipif(find_spec("vllm") is None, reason="vllm is not installed")
@pytest.mark.filterwarnings("ignore")  # its own
def test_answers_by_vllm_lead_to_the_verdict_of_the_exact_engine(home, checkpoint, untied_model):
    """An adapter and a full checkpoint, in float32: each item scores the same, under the engine's own keys."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    model: Any = AutoModelForCausalLM.from_pretrained(untied_model, dtype=torch.float32)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    adapted.save_pretrained(checkpoint)

    def outcome(number: int, engine: str, **more: Any) -> tuple[check_result.CheckResult, dict[str, Any]]:
        model = {"id": str(untied_model), "dtype": "float32", "engine": engine}
        folder = make_job(home, untied_model, number, {"model": model, **more}, more=[])
        assert work(folder) == events.Ended("finished")
        happened = read_events(folder)
        scores = of(events.Scores, happened)
        return result_in(happened), {(s.model, s.task, item.item): item for s in scores for item in s.items}

    exact, by_exact = outcome(1, "exact")
    written, by_vllm = outcome(2, "vllm")
    assert by_vllm == by_exact
    floor = written.noise_floor
    assert floor is not None and (floor.engine, floor.answers, floor.answers_flipped) == ("vllm", 12, 0)
    assert written.models["base"]["engine"] == "vllm" and "engine" not in exact.models["base"]
    assert (written.verdict, written.drop, written.target) == (exact.verdict, exact.drop, exact.target)
    assert {answer.answer for key, answer in by_vllm.items() if key[1] == "orders"} != {""}


def checked(home: Path, tiny_model: Path, number: int, target_section: dict[str, Any]) -> Any:
    recipe = {
        "objective": {"name": "continued-pretraining"},
        "data": {"train": [{"path": str(home / "texts.jsonl")}], "max_tokens": 16},
        "check": {"general": GENERAL, "target": target_section},
    }
    folder = make_job(home, tiny_model, number, recipe)
    assert work(folder) == events.Ended("finished")
    (verdict,) = of(events.Verdict, read_events(folder))
    return verdict.result


def test_texts_are_a_target(home, checkpoint, tiny_model, save_adapter):
    save_adapter(checkpoint, BROKEN)
    texts = [{"text": f"The shop number {n} opens at nine, and it closes at six."} for n in range(12)]
    path = str(write_rows(home / "texts.jsonl", texts))
    result = check_result.read(checked(home, tiny_model, 1, {"path": path}))
    score = result.target["nats_per_token"]
    assert (score.texts, result.target_failed) == (12, "")
    assert score.tuned > score.base and score.low > 0
    (line,) = [line for line in verdicts.further_lines(result) if line.startswith("target")]
    assert f"{score.rows} windows of 12 texts; perplexity " in line


@pytest.mark.slow
def test_the_verdict_stands_without_its_target(
    home, checkpoint, tiny_model, save_adapter, monkeypatch, capsys
):
    save_adapter(checkpoint, 0.0)
    path = str(write_rows(home / "texts.jsonl", [{"text": "The shop opens at nine."}]))
    gone = checked(home, tiny_model, 1, {"path": str(home / "gone.jsonl")})
    assert (gone["verdict"], gone["target"]) == ("ok", {})
    assert "gone.jsonl" in gone["target_failed"]
    out = capsys.readouterr().out
    assert "the target is not measured: " in out and "target  failed: " in out

    wrong = checked(home, tiny_model, 2, {"path": path, "metric": "exact_match"})
    assert wrong["verdict"] == "ok"
    why = "check.target.metric is exact_match, but texts.jsonl has plain texts"
    assert wrong["target_failed"].startswith(why)

    measured = target.score_rows

    def fails(metric: str, *given: Any, **more: Any) -> Any:
        if metric == "exact_match":
            raise ValueError("no such template")
        return measured(metric, *given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(target, "score_rows", fails)
    metrics = ["exact_match", "nats_per_token"]
    half = checked(home, tiny_model, 3, {"path": str(home / "rows.jsonl"), "metric": metrics})
    assert (half["verdict"], list(half["target"])) == ("ok", ["nats_per_token"])
    assert half["target_failed"] == "exact_match: ValueError: no such template"
    brief = check_result.brief(1, 0.0, 20, half)
    assert verdicts.short_answer(brief).endswith("; target failed")
