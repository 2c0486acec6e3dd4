"""The whole plan of a recipe: verdicts, the cheapest change, steps, time, disk, several GPUs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from work import calls_of

from finetop.core import run_job
from finetop.core.errors import EnvironmentTrouble, Refused
from finetop.core.models import kernels
from finetop.core.models.cpu_formats import Speeds
from finetop.core.models.resolved import Moving
from finetop.core.plan import answers, settled
from finetop.core.plan.ahead import require_room
from finetop.core.plan.estimate import estimate
from finetop.core.plan.lengths import Lengths
from finetop.core.plan.schedule import EXTRAS, PastRun
from finetop.core.plan.shape import read_shape, shape_of
from finetop.core.plan.workload import Known, refusals
from finetop.core.recipe.length import count_steps
from finetop.core.recipe.load import load_recipe
from finetop.core.recipe.master import SLICE, SLICE_BYTES
from finetop.core.runtime import compiler
from finetop.core.runtime.home import Home
from finetop.core.train import objectives

SHORT = Known(lengths=Lengths(rows=1000, eval_rows=100, tokens=200_000, longest=512, how="counted"))


def recipe(name="lora", *sets):
    """Return a built-in recipe; all but qlora keep their activations, unless set otherwise."""
    kept = () if name == "qlora" else ("train.activation_checkpointing=false",)
    return load_recipe(name, (*kept, *sets)).recipe


def size_of(plan, *names):
    """Return the bytes of parts of a plan."""
    return sum(part.bytes for part in plan.parts if part.name in names)


def test_what_does_not_fit_says_what_would_and_tight_is_between_the_estimate_and_its_margin(llama_8b, card):
    big = estimate(recipe("full"), llama_8b, card, SHORT)
    assert (big.verdict, big.fix.sets[0]) == ("no", "method={name: lora}")
    assert big.fix.need <= card.memory
    fixed = estimate(recipe("full", *big.fix.sets), llama_8b, card, SHORT)
    assert fixed.verdict == "fits"  # the --set texts do what they say
    assert fixed.need == pytest.approx(big.fix.need)
    plan = estimate(recipe(), llama_8b, card, SHORT)
    memories = {"tight": (plan.estimate + plan.need) / 2, "no": plan.estimate - 1, "unknown": None}
    for verdict, memory in memories.items():
        assert estimate(recipe(), llama_8b, replace(card, memory=memory), SHORT).verdict == verdict
    limited = recipe("lora", "budget.memory_gib=8")
    assert estimate(limited, llama_8b, card, SHORT).capacity == 8 * 2**30


def test_activations_are_recomputed_where_they_do_not_fit_and_the_job_decides_as_the_plan(
    llama_8b, card, monkeypatch, tmp_path
):
    """One function, called by the plan, and through run_job by the job with what that has found."""
    auto, kept, again = (
        recipe("lora", f"train.activation_checkpointing={way}") for way in ("auto", "false", "true")
    )
    need = estimate(kept, llama_8b, card, SHORT).need
    for memory, on in ((need * 1.01, False), (need * 0.99, True)):
        here = replace(card, memory=memory)
        plan = estimate(auto, llama_8b, here, SHORT)
        assert plan.parts == estimate(again if on else kept, llama_8b, here, SHORT).parts
        assert any("activations are recomputed" in note for note in plan.notes) is on
        assert plan.verdict == "fits"
        monkeypatch.setattr(settled, "read_machine", lambda *_, **__: replace(card, memory=1.0))
        facts = llama_8b, Moving(), Home(tmp_path), "cuda:0", memory, SHORT.lengths.longest, 1
        decided, why = settled.settle_in_job(auto, *facts)
        assert decided.train.activation_checkpointing is on
        assert bool(why) is on and all(f"{words}." in plan.notes for words in why)
    assert run_job.given_to("train") == (settled.settle_in_job,)


@pytest.mark.parametrize(
    ("family", "more", "lacks", "on"),
    [
        ("llama", (), "", True),
        ("olmo", (), "", False),
        ("llama", (), "a C compiler", False),
        ("llama", ("train.compile=true",), "", False),
    ],
)
def test_auto_takes_fused_kernels_that_are_installed_and_made_for_the_model_and_the_job_decides_as_the_plan(
    llama_8b, card, cores, monkeypatch, tmp_path, family, more, lacks, on
):
    package = tmp_path / "liger_kernel" / "transformers"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    listed = 'MODEL_TYPE_TO_APPLY_LIGER_FN = {\n    "llama": fuse_llama,\n    "qwen3": fuse_qwen3,\n}\n'
    (package / "monkey_patch.py").write_text(f"import torch\n{listed}\nOTHER = {{'olmo': 1}}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(compiler, "triton_lacks", lambda: lacks)
    config = {**llama_8b, "model_type": family}
    auto, none, liger = (recipe("lora", f"train.kernels={way}", *more) for way in ("auto", "none", "liger"))
    plan = estimate(auto, config, card, SHORT)
    assert plan.parts == estimate(liger if on else none, config, card, SHORT).parts
    assert (f"{settled.FUSED}." in plan.notes) is on
    monkeypatch.setattr(settled, "read_machine", lambda *_, **__: replace(card, memory=1.0))
    facts = config, Moving(), Home(tmp_path), "cuda:0", card.memory, SHORT.lengths.longest, 1
    decided, why = settled.settle_in_job(auto, *facts)
    assert (decided.train.kernels, settled.FUSED in why) == (("liger", True) if on else ("none", False))
    on_cpu, _ = settled.settle(auto, read_shape(config), cores, SHORT)
    assert on_cpu.train.kernels == "none"
    if family == "olmo":
        refused = dict(kernels.requirements(liger, "cuda:0", config))["train.kernels"]
        with pytest.raises(EnvironmentTrouble, match="liger-kernel has no kernels for models of type olmo"):
            refused()


def test_auto_keeps_activations_where_a_method_loses_by_recomputing_and_on_a_cpu_by_all_its_memory(
    llama_8b, card, cores
):
    small = replace(card, memory=2**30)
    shape = read_shape(llama_8b)
    prefix = recipe("prefix-tuning", "train.activation_checkpointing=auto")
    assert settled.settle(prefix, shape, small, SHORT)[0].train.activation_checkpointing is False
    auto = recipe("lora", "train.activation_checkpointing=auto")
    for total, on in ((1e12, False), (8e9, True)):
        here = replace(cores, memory=1e9, total=total)
        assert settled.settle(auto, shape, here, SHORT)[0].train.activation_checkpointing is on


def test_stochastic_rounding_counts_the_slice_that_a_step_holds_in_float32(llama_8b, card):
    few_words = {**llama_8b, "vocab_size": 1000, "num_hidden_layers": 2}
    short = replace(SHORT, lengths=replace(SHORT.lengths, longest=8, longest_kept=8))

    def optimizer(way):
        plan = estimate(recipe("full", "train.batch_size=1", f"train.master={way}"), few_words, card, short)
        return size_of(plan, "optimizer")

    assert 0.8 * SLICE * SLICE_BYTES < optimizer("stochastic") - optimizer("nearest") < SLICE * SLICE_BYTES


def test_the_cheapest_change_comes_first(llama_8b, card):
    sets = ("train.batch_size=8", "train.grad_accumulation=1", "data.max_tokens=512")
    wide = recipe("lora", *sets)
    need = estimate(wide, llama_8b, card, SHORT).need
    fixes = []
    for memory in (need * 1.01, need * 0.8, need * 0.62, 18.2 * 2**30, 9.2 * 2**30, 3 * 2**30):
        plan = estimate(wide, llama_8b, replace(card, memory=memory), SHORT)
        fixes.append((plan.verdict, plan.fix.sets if plan.fix else None))
    assert fixes[0] == ("fits", None)
    assert fixes[1][1] == ("train.batch_size=4", "train.grad_accumulation=2")
    assert ["model.quantize=nf4" in str(fixes[at][1]) for at in (2, 4)] == [False, True]
    assert fixes[5] == ("no", None)
    order = ["train.batch_size", "train.activation_checkpointing", "model.quantize", "data.max_tokens"]
    keys = [[setting.partition("=")[0] for setting in sets] for _, sets in fixes[1:5] if sets]
    costs = [max((order.index(key) for key in own if key in order), default=0) for own in keys]
    assert costs == sorted(costs)


def test_steps_tokens_time_and_disk(llama_8b, card):
    plan = estimate(recipe("lora", "train.epochs=3"), llama_8b, card, SHORT)
    assert (plan.steps.rows_per_step, plan.steps.steps) == (16, 189)  # 3 x ceil(250 / 4)
    assert plan.steps.tokens == pytest.approx(600_000, rel=0.01)
    assert not plan.time.is_measured and "a guess: 35% of the 121 TFLOP/s" in plan.time.source
    past = [
        PastRun("other", "x", "lora", "sft", True, 300.0, parameters=16e9, trainable=1e6),
        PastRun("same", plan.model, "lora", "sft", True, 500.0),
        PastRun("slow", plan.model, "lora", "sft", False, 1.0),
    ]
    timed = estimate(recipe("lora", "train.epochs=3"), llama_8b, card, replace(SHORT, past=past))
    assert timed.time.is_measured
    beside = timed.time.starting + timed.time.evaluation + timed.time.saving
    assert timed.time.seconds == pytest.approx(plan.steps.tokens / 500.0 + beside)
    assert timed.time.starting > 16  # it reads 16 GB of weights
    unprobed = estimate(
        recipe("lora", "train.epochs=3", "drift.every=null"), llama_8b, card, replace(SHORT, past=past)
    )
    assert unprobed.time.evaluation < timed.time.evaluation and unprobed.time.starting < timed.time.starting
    tiny = [PastRun("tiny", plan.model, "lora", "dpo", True, 9e9, parameters=3e6, trainable=3e6), past[0]]
    near = estimate(recipe(), llama_8b, card, replace(SHORT, past=tiny))
    assert near.time.source == "from the FLOP/s of run other"  # not the newest, which has another size
    far = estimate(recipe(), llama_8b, card, replace(SHORT, past=tiny[:1]))
    assert far.time.source.startswith("a guess")
    scaled = estimate(recipe(), llama_8b, card, replace(SHORT, past=past[:1]))
    assert 500 < scaled.time.tokens_per_s < 700  # twice as large a model
    disk = (4, 4 * plan.trainable, 4 * (4 + 8 + 4) * plan.trainable)
    assert (plan.disk.kept, plan.disk.checkpoint, plan.disk.total) == disk


def test_a_method_that_turns_whole_matrices_takes_as_long_for_fewer_rows(llama_8b, card):
    plans = {}
    for name in ("boft", "oft"):
        for size in (1, 8):
            sets = (f"train.batch_size={size}", f"train.grad_accumulation={8 // size}")
            plans[name, size] = estimate(recipe(name, *sets), llama_8b, card, SHORT)
    boft, oft = ([plans[name, size].time.seconds for size in (1, 8)] for name in ("boft", "oft"))
    assert oft[0] == pytest.approx(oft[1])
    # 12 n^3 for each of 7 matrices a layer (BOFT, one factor): 10 times what 200 tokens cost, at 1 row a batch
    flops = 12 * 32 * (6 * 4096**3 + 14336**3)
    batches = plans["boft", 1].steps.steps * 8
    assert boft[0] - boft[1] * 8 == pytest.approx(oft[0] * (1 - 8), rel=0.15)
    assert boft[0] == pytest.approx(flops * batches / (0.35 * card.flops), rel=0.2)
    warned = [any("takes hardly longer" in note for note in plan.notes) for plan in plans.values()]
    assert warned == [True, True, False, False]


def test_max_steps_decides_else_the_epochs_and_packing_fills_its_rows(llama_8b, card):
    for sets, rows, steps in (
        ((), 1, 2), ((), 16, 2), ((), 17, 4), (("train.epochs=0.3",), 1001, 19),
        (("train.batch_size=3",), 1001, 168), (("train.max_steps=7",), 1001, 7),
        (("train.max_steps=700",), 17, 700),  # as in every trainer: may exceed what the epochs give
    ):  # fmt: skip
        assert count_steps(recipe("lora", *sets).train, rows) == steps, (sets, rows)
    lengths = replace(SHORT.lengths, sequences=196)
    plan = estimate(recipe("lora", "objective.packing=true"), llama_8b, card, Known(lengths=lengths))
    assert plan.steps.steps == 26  # 196 rows of 1,024 tokens, 16 per step, twice


def test_a_cpu_without_the_format_takes_float32(llama_8b, cores):
    plan = estimate(recipe(), llama_8b, cores, SHORT)
    assert plan.dtype == "float32"
    assert size_of(plan, "weights") == 4 * (plan.parameters + plan.trainable)
    assert any("no arithmetic for bfloat16" in note for note in plan.notes)


@pytest.fixture
def t4(card):
    return replace(card, name="Tesla T4", memory=15 * 2**30, total=15 * 2**30, has_bfloat16=False)


def small(llama_8b, **more):
    return {**llama_8b, "hidden_size": 576, "num_hidden_layers": 12, "intermediate_size": 1536, **more}


@pytest.mark.parametrize("name", ["lora", "qlora", "full", "dpo", "grpo", "reward", "ppo"])
def test_a_card_without_bfloat16_takes_float16_and_the_plan_says_so(llama_8b, t4, name):
    plan = estimate(recipe(name), small(llama_8b), t4, SHORT)
    assert plan.dtype == "float16"
    for says in (
        "float16: this card (Tesla T4) has no bfloat16",
        "saved in bfloat16, whose range is wider than float16",
    ):
        assert any(says in note for note in plan.notes)
    weights = estimate(recipe(name), small(llama_8b), replace(t4, has_bfloat16=True), SHORT)
    assert size_of(plan, "weights") == size_of(weights, "weights")
    assert not list(refusals(recipe(name), shape_of(recipe(name), small(llama_8b)), t4))


def test_full_tuning_in_float16_holds_float32_and_never_rounds_by_chance(llama_8b, t4):
    full = recipe("full")
    plan = estimate(full, llama_8b, t4, SHORT)
    rounded = estimate(full, llama_8b, replace(t4, has_bfloat16=True), SHORT)  # stochastically
    assert rounded.estimate < 0.6 * plan.estimate
    assert plan.verdict == "no" and "method={name: lora}" in plan.fix.sets
    exact, fits = recipe("full", "train.master=float32"), replace(t4, memory=3.5 * 2**30)
    new = estimate(exact, small(llama_8b), replace(fits, has_bfloat16=True), SHORT)
    assert "train.master=stochastic" in new.fix.sets
    assert "train.master=stochastic" not in estimate(exact, small(llama_8b), fits, SHORT).fix.sets
    assert any("held in float32" in note for note in plan.notes)


@pytest.mark.parametrize("family", ["gemma2", "gemma3_text"])
def test_a_family_that_overflows_in_float16_is_warned_of(llama_8b, t4, family):
    plan = estimate(recipe("lora"), small(llama_8b, model_type=family), t4, SHORT)
    assert any(f"{family} is known to overflow in float16" in note for note in plan.notes)


@pytest.mark.parametrize(("name", "sets", "key", "says"), [
    ("lora", ("model.dtype=bfloat16",), "model.dtype", "Tesla T4 can't compute in it"),
    ("lora", ("model.attention=flash_attention_2",), "model.attention", "does not support Tesla T4"),
    ("full", ("train.master=stochastic",), "train.master", "stochastic rounding works with bfloat16"),
    ("full", ("train.master=nearest",), "train.master", "nearest rounding works with bfloat16"),
    ("full", ("budget.gpus=2",), "train.parallel", "fsdp does not train in float16"),
])  # fmt: skip
def test_what_a_card_without_bfloat16_can_not_train_is_refused(llama_8b, t4, name, sets, key, says):
    wanted = recipe(name, *sets)
    ranks = wanted.budget.gpus or 1
    ((refused_key, message, hint),) = refusals(wanted, shape_of(wanted, llama_8b), t4, ranks)
    assert (refused_key, says in message, bool(hint)) == (key, True, True)
    assert not list(refusals(wanted, shape_of(wanted, llama_8b), replace(t4, has_bfloat16=True), ranks))


def test_flash_attention_is_not_planned_for_a_card_that_has_no_kernels_of_it(llama_8b, t4, monkeypatch):
    monkeypatch.setattr("finetop.core.models.attention._has", lambda package: package == "flash_attn")
    monkeypatch.setattr("finetop.core.runtime.compiler.triton_lacks", lambda: "Triton")  # CUDA builds have it
    packed = recipe("lora", "objective.packing=true")
    new = estimate(packed, small(llama_8b), replace(t4, has_bfloat16=True), SHORT)
    assert estimate(packed, small(llama_8b), t4, SHORT).estimate > new.estimate  # SDPA's mask


def test_an_adapter_is_copied_to_each_gpu_and_whole_weights_are_divided_as_others_have_measured(
    llama_8b, card
):
    single = estimate(recipe("lora"), llama_8b, card, SHORT)
    four = estimate(recipe("lora"), llama_8b, card, SHORT, gpus=4)
    assert single.sharded == () and [way.way for way in four.sharded] == [
        "a copy on each (ddp)",
        "weights sharded (fsdp)",
    ]
    assert four.sharded[0].bytes == four.estimate
    assert size_of(four, "gradients") == pytest.approx(2 * size_of(single, "gradients"))  # plus DDP's buckets
    assert size_of(four, "weights") == size_of(single, "weights")
    assert four.steps.rows_per_step == 64
    four, eight = (estimate(recipe("full"), llama_8b, card, SHORT, gpus=gpus) for gpus in (4, 8))
    assert size_of(four, "weights") == 4 * four.parameters / 4
    assert size_of(four, "optimizer") == 8 * four.parameters / 4
    assert size_of(eight, "weights") + size_of(eight, "optimizer") == 12 * four.parameters / 8
    assert size_of(four, "gathered") == size_of(eight, "gathered") > 2 * 2 * 218e6
    assert eight.sharded[1].bytes == eight.estimate < eight.sharded[0].bytes
    # Full tuning by FSDP2 with float32 shards, one short row at a time: 22 to 25 GB per GPU without NCCL's buffers.
    sets = ("train.batch_size=1", "data.max_tokens=512", "train.activation_checkpointing=true")
    plan = estimate(recipe("full", *sets), llama_8b, card, gpus=8)
    assert 22e9 <= plan.estimate - size_of(plan, "NCCL") <= 25.1e9
    assert 16 * plan.parameters / 8 / plan.estimate > 0.6


SIZES_70B = {
    "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64, "intermediate_size": 28672,
}  # fmt: skip
SHORT_ROW = ("method.rank=16", "train.batch_size=1", "data.max_tokens=512")


def test_70b_in_4_bits_holds_what_others_have_measured_and_fits_once_its_base_is_divided(llama_8b, card):
    large = {**llama_8b, **SIZES_70B}
    assert 41e9 <= estimate(recipe("qlora", *SHORT_ROW), large, card).estimate <= 48e9
    copied = estimate(recipe("qlora", *SHORT_ROW, "budget.gpus=4"), large, card, gpus=4)
    assert (copied.verdict, copied.fix.sets) == ("no", ("train.parallel=fsdp",))
    divided = recipe("qlora", *SHORT_ROW, "budget.gpus=4", "train.parallel=fsdp")
    plan = estimate(divided, large, card, gpus=4)
    assert plan.verdict == "fits"
    assert size_of(plan, "weights") == size_of(copied, "weights") / 4


def test_what_does_not_train_on_several_says_so_and_every_objective_has_a_row(llama_8b, card):
    plan = estimate(recipe("ppo"), llama_8b, card, gpus=2)
    assert "budget.gpus is 2, and ppo trains on one GPU. Set budget.gpus to 1." in plan.notes
    assert plan.sharded == ()
    assert set(objectives.names()) <= set(EXTRAS)


def test_pairs_teachers_protections_and_written_answers_are_counted(llama_8b, card):
    plain = estimate(recipe("lora"), llama_8b, card, SHORT)
    sets = ("train.batch_size=4", "train.grad_accumulation=4", "method={name: lora}")
    pairs = estimate(recipe("dpo", *sets), llama_8b, card, SHORT)
    assert size_of(pairs, "activations") == pytest.approx(2 * size_of(plain, "activations"))
    taught = recipe("lora", "objective={name: distill, teacher: big/teacher}")
    alone = estimate(taught, llama_8b, card, SHORT)
    assert size_of(alone, "other models") == 2 * alone.parameters
    assert any("the teacher is assumed to be as large" in note for note in alone.notes)
    known = replace(SHORT, teacher=read_shape({**llama_8b, "num_hidden_layers": 64}))
    assert size_of(estimate(taught, llama_8b, card, known), "other models") > 1.8 * 2 * alone.parameters
    plain = estimate(recipe("full"), llama_8b, card, SHORT)
    held = estimate(recipe("full", "protect.l2_sp=0.1"), llama_8b, card, SHORT)
    names = {part.name for part in held.parts} - {part.name for part in plain.parts}
    assert names <= {"protections"}
    assert held.estimate >= plain.estimate
    sets = ("data.max_tokens=384", "objective.max_new_tokens=128", "train.batch_size=4")
    plan = estimate(recipe("ppo", *sets), llama_8b, card, SHORT)
    assert size_of(plan, "logits") == 4 * 128 * 128256 * 14
    assert any("answers are assumed to have objective.max_new_tokens tokens" in note for note in plan.notes)


def test_an_engine_holds_a_bounded_cache_or_weights_of_its_own(llama_8b, card, monkeypatch):
    def parts(*sets):
        wide = ("data.max_tokens=4096", "objective.max_new_tokens=1024", "train.batch_size=8", *sets)
        plan = estimate(recipe("grpo", *wide), llama_8b, card, SHORT)
        return {part.name: part.bytes for part in plan.parts} | {"numbers": plan.parameters}

    exact, key_values = parts("train.grad_accumulation=1"), 2 * 32 * 1024 * 2
    assert "answers" not in exact
    many = parts("train.grad_accumulation=512")  # all answers of a step are written before any is learned
    passing = many["activations"] + many["logits"]
    assert many["answers"] == 512 * 8 * (SHORT.lengths.longest + 1024) * key_values - passing
    continuous = parts("model.engine=continuous")
    assert exact["activations"] - continuous["activations"] == 8 * (SHORT.lengths.longest + 1024) * key_values
    vllm = parts("model.engine=vllm")
    copy = 2 * vllm["numbers"] + 4 * 2**30 + 1.5 * 2**30
    assert vllm["answers"] == copy
    assert parts("model.engine=vllm", "check.every=50")["answers"] == 2 * copy
    monkeypatch.setattr(answers, "has_flash", lambda: True)
    assert parts() == continuous


def test_it_is_quick_enough_for_a_form_and_an_unknown_family_is_named(llama_8b, card):
    full = recipe("full")
    estimate(full, llama_8b, card, SHORT)
    assert calls_of(lambda: estimate(full, llama_8b, card, SHORT)) < 10_000  # 3,094: 2 ms
    plan = estimate(recipe(), {**llama_8b, "model_type": "novel"}, card)
    assert plan.notes[0] == "family novel is unknown: estimated as a Llama of the same size."
    assert plan.steps is None


def test_full_tuning_in_float32_takes_18_bytes_a_number_and_rounded_by_chance_8(llama_8b, card):
    held = ("weights", "gradients", "optimizer")
    large = replace(card, memory=200e9)
    for master, each in (("float32", 18.0), ("stochastic", 8.0), ("nearest", 8.0), ("auto", 18.0)):
        plan = estimate(recipe("full", f"train.master={master}"), llama_8b, large, SHORT)
        assert size_of(plan, *held) / plan.parameters == pytest.approx(each, rel=0.001)
    small = estimate(recipe("full"), llama_8b, replace(card, memory=80e9), SHORT)
    assert size_of(small, *held) / small.parameters == pytest.approx(8.0, rel=0.001)  # auto
    planned = estimate(recipe("full", "train.master=float32"), llama_8b, replace(card, memory=90e9), SHORT)
    assert planned.verdict == "no" and "train.master=stochastic" in planned.fix.sets
    assert planned.disk.checkpoint == pytest.approx(4 * planned.parameters)


def test_a_mask_is_counted_where_there_is_one(llama_8b, card):
    def activations(*sets):
        wide = ("train.batch_size=4", "data.max_tokens=4096", *sets)
        return size_of(estimate(recipe("lora", *wide), llama_8b, card), "activations")

    rows = activations()
    packed = "objective.packing=true"
    assert activations(packed, "model.attention=flash_attention_2") == rows
    cells, layers, size = (4 * 4096) ** 2, 32, 2
    keys = 2 * (4096 - 1024) * size * 4 * 4096 * layers  # of every query head
    more = activations(packed, "model.attention=sdpa") - rows
    assert more == pytest.approx(cells * (layers * size + 1) + keys)


@pytest.mark.parametrize(("speeds", "total", "sets", "dtype", "says"), [
    (Speeds(343, 177), 1e12, (), "float32", "float32 is used in place of bfloat16"),
    (Speeds(232, 767), 1e12, (), "bfloat16", "float32 232: bfloat16 is used"),
    (Speeds(343, 177), 16e9, (), "bfloat16", "float32 weights would take"),
    (Speeds(343, 177), 1e12, ("train.master=stochastic",), "bfloat16", "train.master"),
    (None, 1e12, (), "bfloat16", "the first run measures"),
])  # fmt: skip
def test_a_cpu_with_the_format_takes_what_was_measured_to_be_faster(
    llama_8b, cores, speeds, total, sets, dtype, says
):
    cpu = replace(cores, has_bfloat16=True, speeds=speeds, total=total)
    plan = estimate(recipe("lora", *sets), llama_8b, cpu, SHORT)
    assert plan.dtype == dtype
    assert any(says in note for note in plan.notes)


EVALUATED = replace(SHORT.lengths, eval_tokens=20_000)


def seconds(plan):
    return plan.time.seconds


def test_evaluation_teachers_and_references_take_time(llama_8b, card):
    still = "drift.every=null"
    plain = estimate(recipe("lora", still), llama_8b, card, SHORT)
    evaluated = estimate(
        recipe("lora", "train.eval_every=0.5", still), llama_8b, card, Known(lengths=EVALUATED)
    )
    assert evaluated.time.evaluation > plain.time.evaluation
    changed = evaluated.time.evaluation - plain.time.evaluation
    assert seconds(evaluated) == pytest.approx(seconds(plain) + changed)
    often = estimate(
        recipe("lora", "train.eval_every=0.125", still), llama_8b, card, Known(lengths=EVALUATED)
    )
    assert often.time.evaluation == pytest.approx(4 * evaluated.time.evaluation, rel=0.1)
    small = {**llama_8b, "num_hidden_layers": 4}
    taught = recipe("distill", "objective.teacher=org/large")
    by_large = estimate(taught, small, card, Known(lengths=SHORT.lengths, teacher=read_shape(llama_8b)))
    by_small = estimate(taught, small, card, Known(lengths=SHORT.lengths, teacher=read_shape(small)))
    assert seconds(by_large) - by_large.time.saving > 1.9 * (seconds(by_small) - by_small.time.saving)


def test_a_new_model_with_the_old_tokenizer_has_its_words_and_rows_take_memory_on_a_cpu(
    llama_8b, cores, card
):
    sizes = {"layers": 2, "hidden_size": 96, "heads": 6, "key_value_heads": 6}
    sets = [f"objective.{name}={size}" for name, size in sizes.items()]
    recipes = [recipe("pretrain", f"objective.tokenizer={name}", *sets) for name in ("train", "reuse")]
    new, old = (estimate(each, llama_8b, cores, SHORT).parameters for each in recipes)
    assert old - new >= (llama_8b["vocab_size"] - 4096) * 96
    many = Known(lengths=replace(SHORT.lengths, tokens=12_000_000))
    few = estimate(recipe(), llama_8b, cores, SHORT)
    assert estimate(recipe(), llama_8b, cores, many).estimate - few.estimate > 1e9
    on_card = [estimate(recipe(), llama_8b, card, known).estimate for known in (many, SHORT)]
    assert on_card[0] == on_card[1]


def test_answers_that_are_written_take_time_and_tokens(llama_8b, card):
    sets = ("objective.max_new_tokens=64", "objective.generations=4", "train.max_steps=10")
    written = estimate(recipe("grpo", *sets), llama_8b, card, SHORT)
    rows = 10 * written.steps.rows_per_step
    assert written.steps.tokens == pytest.approx(rows * (200 + 64), rel=0.01)
    assert 0 < written.time.writing < seconds(written)
    longer = estimate(recipe("grpo", sets[0].replace("64", "128"), *sets[1:]), llama_8b, card, SHORT)
    assert longer.time.writing == pytest.approx(2 * written.time.writing, rel=0.01)
    past = PastRun("x", written.model, "lora", "grpo", True, 100.0)
    measured = estimate(recipe("grpo", *sets), llama_8b, card, Known(lengths=SHORT.lengths, past=[past]))
    assert measured.time.writing == 0.0 and measured.time.is_measured  # its steps included writing


@pytest.mark.parametrize("optimizer", ["adamw-8bit", "paged-adamw-8bit"])
def test_embeddings_in_32_bits_are_counted_and_said(llama_8b, card, optimizer):
    plan = estimate(recipe("full", f"train.optimizer={optimizer}"), llama_8b, card, SHORT)
    embeddings = 128256 * 4096
    state = (plan.parameters - embeddings) * (2 + 1 / 32) + embeddings * 8
    assert size_of(plan, "optimizer") == pytest.approx(state)
    counted = "3.9 of the 18.1 GiB of optimizer state."
    assert f"{optimizer} keeps its state of the embeddings in 32 bits: {counted}" in plan.notes
    assert plan.disk.optimizer == size_of(plan, "optimizer")
    adapter = estimate(recipe("lora", f"train.optimizer={optimizer}"), llama_8b, card, SHORT)
    assert not any("in 32 bits" in note for note in adapter.notes)
    copies = recipe("full", f"train.optimizer={optimizer}", "train.parallel=ddp")
    copied = estimate(copies, llama_8b, card, gpus=2)
    assert size_of(copied, "optimizer") == size_of(plan, "optimizer")


GIB_OF_RANK = 0.67e9 + 1.5e9  # a process with a GPU


def test_a_model_that_is_divided_takes_memory_of_the_machine_too(llama_8b, card):
    """8B on 8 ranks of one machine: their memory while a checkpoint is written, with the state in parts of 1 GiB."""
    known = replace(card, host=1e12)
    plan = estimate(recipe("full"), llama_8b, known, gpus=8)
    parts = 8 * 4 * 2**30
    assert plan.host.ranks == 8 and not plan.host.lacks
    assert plan.host.bytes == pytest.approx(8 * GIB_OF_RANK + 2 * plan.parameters + parts)
    assert plan.host.bytes < 4 * plan.parameters * 8 / 3  # a third of float32 on each rank
    large = estimate(recipe("full"), {**llama_8b, **SIZES_70B}, known, gpus=16)
    assert large.host.bytes == pytest.approx(16 * GIB_OF_RANK + 2 * large.parameters + 2 * parts)
    spread = estimate(recipe("full", "budget.gpus=16", "budget.nodes=2"), llama_8b, known, gpus=16)
    assert (spread.host.ranks, spread.host.bytes) == (8, plan.host.bytes)
    read = estimate(recipe("full"), {**llama_8b, "torch_dtype": "float32"}, known, gpus=8)
    assert read.host.bytes == plan.host.bytes  # 16 GB, freed before a checkpoint is written
    small = {**llama_8b, "num_hidden_layers": 2}
    whole = estimate(recipe("full"), small, known, gpus=2)
    assert whole.host.bytes == pytest.approx(2 * GIB_OF_RANK + 14 * whole.parameters)
    rows = estimate(recipe("full"), small, known, SHORT, gpus=2)
    assert rows.host.bytes - whole.host.bytes == pytest.approx(2 * 200_000 * 95)


def test_a_base_in_4_bits_is_in_memory_once_for_each_rank_and_a_machine_too_small_is_refused(llama_8b, card):
    sizes = {**llama_8b, **SIZES_70B}
    divided = recipe("qlora", *SHORT_ROW, "budget.gpus=4", "train.parallel=fsdp")
    plan = estimate(divided, sizes, card, gpus=4)
    assert plan.host.bytes == pytest.approx(4 * (GIB_OF_RANK + 4 * size_of(plan, "weights")), rel=0.03)
    copied = estimate(recipe("qlora", *SHORT_ROW), sizes, card, gpus=4)
    assert copied.host is None  # each goes directly to its GPU
    assert estimate(recipe("full"), llama_8b, card).host is None
    divided = recipe("full", "budget.gpus=8")
    roomy = replace(card, memory=80e9, total=80e9, host=200e9)
    require_room(divided, llama_8b, roomy, None)
    with pytest.raises(Refused) as caught:
        require_room(divided, llama_8b, replace(roomy, host=32e9), None)
    assert "8 ranks need 63.1 GiB of host memory, but this machine has 29.8 in all" in caught.value.message
