"""What only a GPU can show: device choice, scores equal to the CPU's, training in few bits, memory and its lack."""

import gc
import os
import re
import subprocess
import sys

import card
import pytest
import tiny_run

from finetop.core.protocol import events
from finetop.core.runtime import event_log
from finetop.core.runtime.home import Home

pytestmark = pytest.mark.gpu
TRAINS = ("trl", "datasets")  # packages that training needs


def test_the_gpu_is_picked_and_named():
    from finetop.core.models import devices

    device = devices.pick_device()
    assert device == "cuda:0"
    assert devices.describe_device(device) != device
    assert devices.number_format("bfloat16", None, device) == "bfloat16"
    sixteen = "bfloat16" if devices.has_bfloat16(device) else "float16"
    assert devices.number_format("auto", None, device) == sixteen


def test_products_in_float32_are_not_rounded_to_tf32(monkeypatch):
    """Only a GPU with tensor cores for TF32 (8.0 and newer) can fail this."""
    import torch

    from finetop.core.models import devices

    monkeypatch.setenv("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1")
    torch.set_float32_matmul_precision("high")  # as that variable has it
    device = devices.open_device(None)
    left, right = torch.randn(256, 4096, device=device), torch.randn(4096, 256, device=device)
    exact = (left.double() @ right.double()).float()
    assert (left @ right - exact).abs().max() < 1e-3  # TF32 is off by 0.05


def test_packed_scores_on_the_gpu_are_those_of_the_cpu(tiny_model):
    import torch
    from transformers import AutoModelForCausalLM

    from finetop.core.check.scoring.packing import TokenSequence
    from finetop.core.check.scoring.scorer import plan_for, score

    sequences = [TokenSequence(tuple((7 * i + 3 * n) % 300 for i in range(24)), 18) for n in range(40)]
    results = []
    for device in ("cpu", "cuda:0"):
        model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).to(device).eval()
        results.append([item_score.log_prob for item_score in score(model, sequences, plan_for(device))])
    assert results[1] == pytest.approx(results[0], abs=1e-3)


def test_scores_behind_a_kept_beginning_are_the_same_when_read_anew(tiny_model):
    import torch
    from transformers import AutoModelForCausalLM

    from finetop.core.check.scoring.batch_plan import BatchPlan
    from finetop.core.check.scoring.packing import TokenSequence
    from finetop.core.check.scoring.prefix_cache import PrefixMemory, find, room_for
    from finetop.core.check.scoring.scorer import packs_exactly, plan_for, score

    head = tuple((11 * i + 5) % 300 for i in range(90))
    items = [
        [TokenSequence((*head, *((7 * i + n) % 300 for i in range(12)), c, 8), 102) for c in range(4)]
        for n in range(20)
    ]
    sequences = [sequence for item in items for sequence in item]
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=getattr(torch, card.number_format()))
    model = model.to("cuda:0").eval()
    assert packs_exactly(model)
    plan, memory = plan_for("cuda:0"), PrefixMemory(find(items), room_for("cuda:0"))
    first = score(model, sequences, plan, memory)
    assert memory.held_bytes > 0
    assert score(model, sequences, plan, memory) == first
    assert score(model, sequences, plan, PrefixMemory(find(items), 0)) == first
    plain = score(model, sequences, BatchPlan("plain", 4096))
    apart = [abs(one.log_prob - other.log_prob) for one, other in zip(first, plain, strict=True)]
    assert sum(apart) / len(apart) < 0.25


def test_another_engine_writes_what_exact_does_in_a_cache_that_is_too_small(tiny_model):
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    from finetop.core.models import continuous, engine

    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).to("cuda:0").eval()
    prompts = [[1, *((7 * i + 3 * n) % 300 for i in range(5 + 3 * n))] for n in range(24)]
    config = GenerationConfig(do_sample=False, max_new_tokens=16, eos_token_id=[-1], pad_token_id=0)
    exact = engine.write(model, prompts, config, "exact")
    before = torch.cuda.memory_allocated()
    asked = [continuous.GenerationRequest(prompt, 16) for prompt in prompts]
    for held in (200, 100_000):
        assert continuous.write(model, asked, config, held=held, at_once=64) == exact
    assert torch.cuda.memory_allocated() - before < 1 << 20


def rows_in(folder, count=8, words=6):
    """Conversations of about that many repeated sentences, in a file."""
    text = "The shop opens at nine, and closes at six. " * words
    rows = [{"prompt": f"What is {n}?", "completion": text} for n in range(count)]
    return tiny_run.write_rows(folder / "rows.jsonl", rows)


def recipe_of(folder, model, *, method="lora", rows=None, **sections):
    train = {"max_steps": 3, "batch_size": 2, "grad_accumulation": 2, "save_every": 1000}
    usual = {"model": {"dtype": "auto"}, "method": {"name": method}, "train": train}
    usual["data"] = {"max_tokens": 128, "on_long": "truncate"}
    return tiny_run.recipe_of(model, rows or rows_in(folder), usual, sections)


def train(recipe, folder, monkeypatch):
    """Train on the GPU in this process, as a job does. Return the events and the trainer."""
    from finetop.core.models import devices
    from finetop.core.runtime import stop_signal
    from finetop.core.train import train as training
    from finetop.core.train.resume import resume

    seen = []
    go = resume.train
    monkeypatch.setattr(resume, "train", lambda trainer, *rest: (seen.append(trainer), go(trainer, *rest)))
    run = folder / "home" / "runs" / "0001-tiny"
    run.mkdir(parents=True)
    device = devices.open_device(recipe.budget.memory_gib)
    log = event_log.EventLog(run / "events.jsonl")
    try:
        ended = training.train(recipe, run, Home(folder / "home"), device, log, stop_signal.Stop())
    finally:
        log.close()
    assert ended.status == "finished"
    return tiny_run.read_events(run), seen[0]


def steps_of(told):
    """Return the numbers of each step that has a loss."""
    return [event.values for event in tiny_run.of(events.Metrics, told) if "loss" in event.values]


def losses(told):
    return [values["loss"] for values in steps_of(told)]


@pytest.mark.gpu(needs="kernels", packages=(*TRAINS, "bitsandbytes"))
def test_qlora_loads_in_four_bits_and_learns(tiny_model, tmp_path, monkeypatch):
    """And the step on the longest rows, which is tried on a GPU, changes nothing in it."""
    quick = {"model": {"quantize": "nf4"}, "train": {"learning_rate": 0.02, "max_steps": 6}}
    results = {}
    for tries in (False, True):
        folder = tmp_path / str(tries)
        folder.mkdir()
        train_section = {**quick["train"], "try_worst_batch": tries}
        recipe = recipe_of(folder, tiny_model, model=quick["model"], train=train_section)
        told, trainer = train(recipe, folder, monkeypatch)
        results[tries] = losses(told)
    assert results[True] == pytest.approx(results[False], rel=1e-2)
    assert results[True][-1] < results[True][0] - 0.1
    kinds = {type(module).__name__ for module in trainer.model.modules()}
    assert "Linear4bit" in kinds
    held = [parameter for parameter in trainer.model.parameters() if parameter.requires_grad]
    assert held and all(parameter.is_cuda and parameter.dtype.itemsize == 4 for parameter in held)


@pytest.mark.parametrize(("method", "quantize"), [("lora", "none"), ("lora", "nf4"), ("full", "none")])
@pytest.mark.gpu(needs="kernels", packages=(*TRAINS, "bitsandbytes"))
def test_in_float16_it_learns_with_a_loss_scale(method, quantize, tiny_model, tmp_path, monkeypatch):
    """On any card: trainable weights are float32, their gradients are scaled, and an overflow costs a single step."""
    import torch

    settings = {"learning_rate": 0.02 if method == "lora" else 1e-3, "max_steps": 12}
    model = {"dtype": "float16", "quantize": quantize}
    recipe = recipe_of(tmp_path, tiny_model, method=method, model=model, train=settings)
    told, trainer = train(recipe, tmp_path, monkeypatch)
    assert losses(told)[-1] < losses(told)[0] - 0.1
    assert all(1 <= values["loss_scale"] <= 65536 for values in steps_of(told))
    moving = [weight for weight in trainer.model.parameters() if weight.requires_grad]
    assert {weight.dtype for weight in moving} == {torch.float32}
    still = {weight.dtype for weight in trainer.model.parameters() if not weight.requires_grad}
    assert torch.bfloat16 not in still


@pytest.mark.parametrize(("name", "paged"), [("adamw-8bit", False), ("paged-adamw-8bit", True)])
@pytest.mark.gpu(needs="kernels", packages=(*TRAINS, "bitsandbytes"))
def test_an_optimizer_holds_its_numbers_in_8_bits(name, paged, tiny_model, tmp_path, monkeypatch):
    """Except for embeddings, which the Trainer keeps in 32 bits, and small tensors: the plan counts both."""
    import torch

    from finetop.core.plan.machine import Machine
    from finetop.core.plan.shape import read_config, read_shape
    from finetop.core.plan.workload import Known, workload

    settings = {"optimizer": name, "learning_rate": 1e-3, "max_steps": 6}
    recipe = recipe_of(tmp_path, tiny_model, method="full", train=settings)
    told, trainer = train(recipe, tmp_path, monkeypatch)
    assert losses(told)[-1] < losses(told)[0]
    inner = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    assert type(inner).__module__.startswith("bitsandbytes") and inner.is_paged is paged
    embedding = trainer.model.get_input_embeddings().weight
    weights = [weight for group in inner.param_groups for weight in group["params"]]
    large = [weight for weight in weights if weight.numel() >= 4096 and weight is not embedding]
    assert large and all(inner.state[weight]["state1"].dtype == torch.uint8 for weight in large)
    wide = [weight for weight in weights if all(weight is not one for one in large)]
    assert len(wide) > 1 and all(inner.state[weight]["state1"].dtype == torch.float32 for weight in wide)
    names = ("state1", "state2", "absmax1", "absmax2")
    held = [state[key] for state in inner.state.values() for key in names if key in state]
    really = sum(tensor.numel() * tensor.element_size() for tensor in held)
    shape, machine = read_shape(read_config(tiny_model)), Machine("gpu", "a GPU", float(80 << 30))
    work = workload(recipe, shape, machine, Known())
    assert work.trained.numbers * work.optimizer_bytes == pytest.approx(really, abs=8 * len(inner.state))


@pytest.mark.gpu(needs="memory", packages=TRAINS)
def test_rows_that_do_not_fit_fail_before_the_first_step_and_say_what_to_do(
    tiny_model, tmp_path, monkeypatch
):
    from finetop.core.train import longest_batch

    model = card.wide_model(tmp_path, tiny_model)
    sections = {"data": {"max_tokens": 1024}, "train": {"batch_size": 8}, "budget": {"memory_gib": 2}}
    recipe = recipe_of(tmp_path, model, method="full", rows=rows_in(tmp_path, words=120), **sections)
    with pytest.raises(longest_batch.DoesNotFit) as caught:
        train(recipe, tmp_path, monkeypatch)
    wanted = (
        r"the longest rows do not fit: out of memory on the GPU: .* more needed, .* of the 2\.00 GiB that"
    )
    assert re.match(wanted, caught.value.message)
    assert caught.value.hint.startswith("Lower train.batch_size (now 8)")


@pytest.fixture(autouse=True)
def whole_card():
    """An earlier test may have been limited to a part of the card's memory."""
    import torch

    yield
    torch.cuda.set_per_process_memory_fraction(1.0, "cuda:0")
    gc.collect()
    torch.cuda.empty_cache()


@pytest.mark.gpu(needs="memory", packages=TRAINS)
@pytest.mark.parametrize(("method", "quantize"), [("full", "none"), ("lora", "none"), ("lora", "nf4")])
def test_the_plan_is_what_the_gpu_reserves(method, quantize, tiny_model, tmp_path, monkeypatch):
    """The allocator's peak is most of the estimate, and below the verdict's need; the context is not included."""
    import torch

    from finetop.core.plan import lengths, machine, memory
    from finetop.core.plan.estimate import estimate
    from finetop.core.plan.shape import read_config
    from finetop.core.plan.workload import Known

    model = card.wide_model(tmp_path, tiny_model)
    sections = {"model": {"quantize": quantize}, "data": {"max_tokens": 1024}}
    sections["train"] = {"batch_size": 4, "try_worst_batch": False}
    rows = rows_in(tmp_path, count=16, words=120)
    recipe = recipe_of(tmp_path, model, method=method, rows=rows, **sections)
    known = Known(lengths=lengths.measure(recipe, model, Home(tmp_path / "home")))
    made = estimate(recipe, read_config(model), machine.read_machine(tmp_path, measure=False), known)
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats("cuda:0")
    train(recipe, tmp_path, monkeypatch)
    reserved = torch.cuda.max_memory_reserved("cuda:0")
    print(f"{method} {quantize}: reserved {reserved / 1e9:.2f} GB, estimate {made.estimate / 1e9:.2f} GB")
    assert reserved <= made.need - memory.CONTEXT_BYTES
    assert reserved >= 0.6 * (made.estimate - memory.CONTEXT_BYTES)


@pytest.mark.gpu(needs="driver", packages=("pynvml",))
def test_nvml_shows_the_gpu_and_this_process_on_it():
    import torch

    from finetop.core.runtime import gpus

    before = gpus.read_once()
    assert not before.trouble
    assert before.driver and before.cuda
    fit = [gpu for gpu in before.gpus if not gpu.fault]
    assert fit and all(gpu.uuid.startswith(("GPU-", "MIG-")) and gpu.total_gib > 1 for gpu in fit)
    held = torch.zeros(1 << 30, dtype=torch.uint8, device="cuda:0")
    after = {gpu.uuid: gpu for gpu in gpus.read_once().gpus}
    mine = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
    if mine not in after:
        pytest.skip("the GPU is divided: torch names its instance otherwise")
    grown = after[mine].used_gib - next(gpu.used_gib for gpu in before.gpus if gpu.uuid == mine)
    assert grown > 0.9
    assert held.numel() == 1 << 30
    if gpus.sees_all_processes():
        sizes = {one.pid: one.gib for one in after[mine].processes or ()}
        assert (sizes[os.getpid()] or 0) >= 1


@pytest.mark.gpu(needs="driver", packages=("pynvml",))
def test_torch_fits_this_gpu_and_its_number_is_that_of_the_pci_bus():
    """The driver starts when asked in a process of its own; commands get GPUs by these numbers."""
    from finetop.core.runtime import gpus, torch_fits

    reading = gpus.read_once()
    whole = [gpu for gpu in reading.gpus if not gpu.fault and not gpu.is_part]
    assert torch_fits.misfits(reading, [gpu for gpu in reading.gpus if not gpu.fault]) == []
    program = "import torch; print(torch.cuda.get_device_properties(0).uuid)"
    for gpu in whole:
        own = {**os.environ, "CUDA_VISIBLE_DEVICES": str(gpu.index), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        done = subprocess.run(
            [sys.executable, "-c", program], env=own, capture_output=True, text=True, check=True
        )
        assert gpu.uuid == f"GPU-{done.stdout.strip()}"


@pytest.mark.gpu(needs="driver", packages=("duckdb",))
def test_the_supervisor_gives_a_job_the_gpu_by_its_uuid(cold_rig):
    """The real driver under the real supervisor, on a fake job."""
    from finetop.core.protocol.messages.machine import Gpus
    from finetop.core.protocol.messages.runs import GetRun
    from finetop.core.runtime import gpus

    fit = [gpu for gpu in gpus.read_once().gpus if not gpu.fault and gpu.total_gib - gpu.used_gib > 2.5]
    if not fit:  # to the supervisor, this process's own memory on a GPU is another user's
        pytest.skip("others use all GPUs: none has 2.5 GiB free, for the job and what stays free beside it")
    cold_rig.start(FINETOP_TEST_NVML="real")
    cold_rig.wait_ready()
    name = cold_rig.submit("one", budget={"memory_gib": 1.0}, steps=20)
    cold_rig.wait_state(name, "finished")
    given = cold_rig.ask(GetRun(name)).device.split()[0]
    assert given in {gpu.uuid for gpu in fit}
    rows = cold_rig.ask(Gpus()).gpus
    assert given in {row.uuid for row in rows}
    assert all(row.history for row in rows)
