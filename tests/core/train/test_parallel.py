"""Training on two ranks equals training on one with the same rows per step: losses, weights, checkpoints, events."""

import math
from types import SimpleNamespace

import pytest
import torch
from drawn import few
from rank_jobs import WAYS, going_on, make_job, make_run, run_all
from safetensors.torch import load_file
from tiny_run import TEXT, curve, of, read_events

from finetop.core.features.export import export
from finetop.core.protocol import events
from finetop.core.recipe.load import load_recipe, recipe_from_mapping
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home
from finetop.core.runtime.job_folder import home_of, read_spec

pytestmark = pytest.mark.slow
EXPORTED = few(["sft-full", "sft-lora", "sft-qlora-divided"], 1)
NAMES = EXPORTED + few([name for name in WAYS if name not in EXPORTED], 1)
UNCHECKED = {"check": {"general": None}, "drift": {"every": None}, "samples": {"count": 0}}


@pytest.fixture(scope="module")
def jobs(tmp_path_factory, tiny_model, warm_program):
    """Run each setup on two ranks in batches of 2, and on one in batches of 4; return the jobs' folders."""
    folder = tmp_path_factory.mktemp("ranks")
    made = {
        (name, count): make_job(
            make_run(folder / f"{name}-{count}", tiny_model, name, **sections), count, batch_size=4 // count
        )
        for name, sections in WAYS.items()
        if name in NAMES
        for count in (1, 2)
    }
    for count in (1, 2):
        run_all([made[name, count] for name in NAMES], count, warm_program)
    return made


def weights_of(job):
    folder = job.parent.parent / "checkpoints" / "step-000005"
    return load_file(next(folder.glob("*.safetensors")))


ONCE = (events.Started, events.Planned, events.DataRead, events.Checkpoint, events.Sample, events.Ended)


@pytest.mark.parametrize("name", NAMES)
def test_losses_weights_and_events_are_those_of_one_process(jobs, name):
    one, two = (read_events(jobs[name, count]) for count in (1, 2))
    for key in ("loss", "grad_norm", "tokens", "learning_rate"):
        alone, together = curve(key, one), curve(key, two)
        assert together == pytest.approx(alone, abs=1e-5), key
        assert sorted(together) == [1, 2, 3, 4, 5]
    assert curve("eval_loss", two)[5] == pytest.approx(curve("eval_loss", one)[5], abs=2e-3)
    assert curve("drift", two) == pytest.approx(curve("drift", one), abs=1e-5)
    for kind in ONCE:
        assert len(of(kind, two)) == len(of(kind, one)), kind
    (alone,), (planned,) = of(events.Planned, one), of(events.Planned, two)
    assert (planned.steps, planned.rows) == (5, 36)
    assert planned.parameters == alone.parameters
    assert planned.trainable_parameters == alone.trainable_parameters
    one, two = (weights_of(jobs[name, count]) for count in (1, 2))
    assert one.keys() == two.keys()
    for key, weight in one.items():
        assert weight.dtype == two[key].dtype
        assert float((weight - two[key]).abs().max()) <= 1e-5, key


RECEIVED = {
    "full": {"method": {"name": "full"}, "train": {"learning_rate": 0.003}},
    "freeze": {"method": {"name": "freeze", "layers": 1}},
    "adapter": {"method": {"name": "lora", "rank": 4, "dropout": 0.3},
                "train": {"learning_rate": 0.01, "parallel": "fsdp"}},
    "reward": {"method": {"name": "full"}, "objective": {"name": "reward"}, **UNCHECKED},
    "new": {"method": {"name": "full"},
            "objective": {"name": "pretrain", "layers": 2, "hidden_size": 32, "heads": 4, "vocabulary": 300},
            **UNCHECKED},
}  # fmt: skip


def test_a_rank_that_received_its_weights_trains_as_one_that_read_them(
    tmp_path, tiny_model, monkeypatch, warm_program
):
    """Every file of every checkpoint is bit-identical, including randomly initialised heads and dropout."""
    written = []
    for way in ("received", "read"):
        if way == "read":
            monkeypatch.setenv("ALL_READ", "1")
        made = {}
        for name, sections in RECEIVED.items():
            sections = {**sections, "model": {"dtype": "bfloat16"}}
            made[name] = make_job(make_run(tmp_path / way / name, tiny_model, name, **sections), 2)
        run_all(list(made.values()), 2, warm_program)
        written.append(
            {
                (name, str(file.relative_to(job.parent.parent))): file.read_bytes()
                for name, job in made.items()
                for file in sorted((job.parent.parent / "checkpoints").rglob("*.safetensors"))
            }
        )
    received, read = written
    assert received.keys() == read.keys() and len(received) == 3 * 2 * len(RECEIVED)
    assert [key for key, data in received.items() if data != read[key]] == []


def test_the_first_rank_alone_reads_a_model_that_is_divided(tmp_path, monkeypatch):
    from finetop.core.models import collectives
    from finetop.core.train import parallel

    base = SimpleNamespace(path=tmp_path)
    (tmp_path / "config.json").write_text("{}")

    def places(rank, *sets):
        monkeypatch.setattr(collectives, "rank", lambda: rank)
        monkeypatch.setattr(collectives, "count", lambda: 2)
        monkeypatch.setattr(collectives, "from_first", lambda make: make() if rank == 0 else None)
        return parallel.load_model(load_recipe("full", sets).recipe, base, "cuda:1", lambda device: device)

    adapter = "method={name: lora}"
    assert [places(rank) for rank in (0, 1)] == ["cpu", "meta"]
    assert [places(rank, adapter) for rank in (0, 1)] == ["cuda:1", "cuda:1"]
    assert [places(rank, adapter, "train.parallel=fsdp") for rank in (0, 1)] == ["cpu", "meta"]
    four_bits = (adapter, "train.parallel=fsdp", "model.quantize=nf4")
    assert [places(rank, *four_bits) for rank in (0, 1)] == ["cpu", "cpu"]
    (tmp_path / "config.json").write_text('{"quantization_config": {"quant_method": "gptq"}}')
    assert [places(rank, adapter, "train.parallel=fsdp") for rank in (0, 1)] == ["cpu", "cpu"]


def test_batches_that_are_added_up_and_whole_copies_come_to_the_same(tmp_path, tiny_model, warm_program):
    """Four rows per step on two ranks: in two batches each, with sharded weights and with copies (ddp)."""
    ways = {
        "one": (1, {"batch_size": 4}),
        "added": (2, {"batch_size": 1, "grad_accumulation": 2}),
        "copies": (2, {"batch_size": 2, "parallel": "ddp"}),
    }
    made = {
        name: make_job(make_run(tmp_path / name, tiny_model, name, **WAYS["sft-full"]), count, **train)
        for name, (count, train) in ways.items()
    }
    run_all([made["added"], made["copies"]], 2, warm_program)
    run_all([made["one"]], 1, warm_program)
    for key in ("loss", "grad_norm"):
        alone = curve(key, read_events(made["one"]))
        for name in ("added", "copies"):
            assert curve(key, read_events(made[name])) == pytest.approx(alone, abs=1e-5), (name, key)


def test_an_epoch_of_36_rows_in_batches_of_two_is_nine_steps(tmp_path, tiny_model, warm_program):
    run = make_run(tmp_path, tiny_model, "epoch", train={"max_steps": None, "epochs": 1.0})
    job = make_job(run, 2)
    run_all([job], 2, warm_program)
    (planned,) = of(events.Planned, read_events(job))
    assert planned.steps == 9
    assert max(curve("epoch", read_events(job)).values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "method", few(["full", "lora", "full, in parts", "lora, on a divided base in 4 bits"], 1)
)
def test_a_run_goes_on_with_more_and_with_fewer_ranks(
    tmp_path, tiny_model, method, monkeypatch, warm_program
):
    """From step 4 of 8 on, the rest of the curve is that of the uninterrupted run, on 2 ranks and on 1."""
    method, _, how = method.partition(", ")
    parts, is_divided = how == "in parts", "divided" in how
    if parts:
        monkeypatch.setenv("IN_PARTS", "1")
    sections = {
        "method": {"name": method},
        "model": {"quantize": "nf4" if is_divided else "none"},
        "train": {"max_steps": 8, "save_every": 4, "learning_rate": 0.003}
        | ({"parallel": "fsdp"} if is_divided else {}),
    }
    runs = {
        name: make_run(tmp_path / name, tiny_model, name, **sections)
        for name in ("two", "one", "to-one", "to-two")
    }
    first = {
        "two": make_job(runs["two"], 2),
        "to-one": make_job(runs["to-one"], 2),
        "one": make_job(runs["one"], 1, grad_accumulation=2),
        "to-two": make_job(runs["to-two"], 1, grad_accumulation=2),
    }
    run_all([first["two"], first["to-one"]], 2, warm_program)
    run_all([first["one"], first["to-two"]], 1, warm_program)
    again = {
        "two": make_job(runs["two"], 2, going_on(4)),
        "to-one": make_job(runs["to-one"], 1, going_on(4)),
        "to-two": make_job(runs["to-two"], 2, going_on(4), grad_accumulation=2),
    }
    kept = [runs[name] / "checkpoints" / "step-000004" / "state" / "shards" for name in ("two", "one")]
    assert [len(list(folder.glob("*.safetensors"))) for folder in kept] == ([2, 0] if parts else [0, 0])
    whole = {name: curve("loss", read_events(job)) for name, job in first.items()}
    run_all([again["two"], again["to-two"]], 2, warm_program)
    run_all([again["to-one"]], 1, warm_program)
    assert whole["two"] == pytest.approx(whole["one"], abs=1e-5)
    for name, job in again.items():
        happened = read_events(job)
        assert of(events.Resumed, happened)[0].step == 4
        rest = curve("loss", happened)
        assert sorted(rest) == [5, 6, 7, 8], name
        assert rest == pytest.approx({step: whole[name][step] for step in rest}, abs=1e-5), name
        assert all(math.isfinite(loss) for loss in rest.values())


@pytest.mark.parametrize("name", EXPORTED)
def test_what_two_ranks_trained_is_exported_and_scores_as_what_one_did(tmp_path, jobs, name):
    from transformers import AutoModelForCausalLM

    ids = torch.arange(5, 45).view(1, -1)
    scores = []
    for count in (1, 2):
        job = jobs[name, count]
        recipe = recipe_from_mapping(read_spec(job).recipe, to_train=True)
        folder = job.parent.parent / "checkpoints" / "step-000005"
        to = tmp_path / f"{count}"
        request = export.ExportRequest(recipe, name, 5, folder, to, "float32", "cpu")
        log = EventLog(tmp_path / f"{count}.jsonl")
        agreed = export.export(request, TEXT * 40, Home(home_of(job)), log)
        log.close()
        assert agreed
        model = AutoModelForCausalLM.from_pretrained(to, dtype=torch.float32)
        with torch.no_grad():
            scores.append(model(input_ids=ids).logits)
    assert float((scores[0] - scores[1]).abs().max()) < 1e-4


def test_two_ranks_stop_early_together_and_keep_one_best(tmp_path, tiny_model, warm_program):
    """All ranks stop at the same step, also after a resume: one that went on would hang the others."""
    patient = {
        "max_steps": 30, "learning_rate": 0.5, "schedule": "constant", "warmup_steps": 0, "eval_every": 1,
        "save_every": 100, "keep_checkpoints": 1, "keep": "best", "stop_early": {"patience": 2},
    }  # fmt: skip
    off = {"samples": {"count": 0}, "drift": {"every": None}}
    run = make_run(tmp_path / "home", tiny_model, "early", **off, train=patient)
    first = make_job(run, 2)
    run_all([first], 2, warm_program)
    told = read_events(first)
    (ended,), (best,), losses = of(events.Ended, told), of(events.Best, told), curve("eval_loss", told)
    last = max(losses)
    assert last < 30 and best.step == min(losses, key=lambda step: (losses[step], step)) == last - 2
    assert ended.status == "finished" and ended.cause.startswith(f"stopped early at step {last}:")
    kept = sorted(folder.name for folder in (run / "checkpoints").glob("step-*"))
    assert kept == [f"step-{step:06d}" for step in (best.step, last)]
    again = make_job(run, 2, going_on(best.step))
    run_all([again], 2, warm_program)
    assert of(events.Ended, read_events(again)) == [ended]
    assert of(events.Best, read_events(again)) == [best]
