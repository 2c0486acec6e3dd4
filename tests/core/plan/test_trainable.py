"""What the plan counts for a method equals what the method really trains of a tiny model."""

from __future__ import annotations

import json

import msgspec
import pytest

from finetop.core.models import shape
from finetop.core.plan import memory
from finetop.core.plan.shape import read_config, read_shape
from finetop.core.plan.trainable import trained
from finetop.core.plan.whole_matrices import two_factors
from finetop.core.plan.workload import Known, workload
from finetop.core.recipe.load import load_recipe
from finetop.core.recipe.master import float32_bytes, held_in, optimizer_bytes
from finetop.core.recipe.optimizers import OPTIMIZERS
from finetop.core.train import master, methods
from finetop.core.train.methods import _start

# Settings that fit a model 64 wide; the rest keep their defaults.
FITTING = {
    "boft": {"block_size": 4}, "corda": {"rank": 4}, "oft": {"block_size": 16}, "shira": {"rank": 4},
    "freeze": {"layers": 1}, "prefix-tuning": {"tokens": 6},
}  # fmt: skip
MORE = [
    ("lora", {"rank": 3, "target_modules": ["q_proj", "down_proj"]}),
    ("lora", {"rank": 3, "modules_to_save": ["up_proj"], "target_modules": ["q_proj"]}),
    ("freeze", {"layers": 2, "embeddings": True, "head": True}),
    ("osf", {"kept": 0.25}),
    ("dora", {"rank": 2, "target_modules": ["v_proj"]}),
]


def options_of(method, settings):
    kind = method.options
    known = {field.name for field in msgspec.structs.fields(kind)}
    return msgspec.convert({key: value for key, value in settings.items() if key in known}, kind)


def start_for(folder):
    rows = [[5, 6, 7, 8, 9, 10]] * 8
    general = [[5, 6, 7, 8, 9, 10, 11, 12]] * 8
    return _start.Start(seed=1, examples=rows, general=lambda: general, pad_token_id=0, base_path=folder)


def prepared(name, options, folder):
    """Return the tiny model in bfloat16 with a method on it."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, local_files_only=True)
    return methods.load(name).prepare(model, options, start_for(folder))


def really_trained(model):
    return sum(weight.numel() for weight in set(model.parameters()) if weight.requires_grad)


def really_held(model):
    """Return the bytes of all parameters and buffers; SHiRA keeps its indices in neither."""
    indices = [each for module in model.modules() for each in getattr(module, "shira_indices", {}).values()]
    held = {weight.data_ptr(): weight.nbytes for weight in (*model.parameters(), *model.buffers())}
    return sum(held.values()) + sum(each.nbytes for each in indices)


def counted_bytes(shape, counted):
    beside = 4.0 if counted.beside else 2.0
    return memory.weight_memory(memory.Workload(shape, counted, 1, 1, trained_bytes=beside))


@pytest.mark.parametrize("name", methods.names())
def test_every_method_is_counted_as_it_trains(name, tiny_model):
    if name == "peft":
        return  # it names another method: see below
    shape, options = read_shape(read_config(tiny_model)), options_of(methods.load(name), {})
    assert trained(shape, name, options).is_known
    if name == "loftq":
        lora = trained(shape, "lora", options_of(methods.load("lora"), {}))
        assert trained(shape, name, options).numbers == lora.numbers  # it starts from quantised weights
        return
    options = options_of(methods.load(name), FITTING.get(name, {}))
    counted = trained(shape, name, options)
    assert counted.is_known
    model = prepared(name, options, tiny_model)
    assert counted.numbers == really_trained(model)
    assert counted_bytes(shape, counted) == pytest.approx(really_held(model), rel=0.005)


@pytest.mark.parametrize(("name", "settings"), MORE, ids=[f"{name}{i}" for i, (name, _) in enumerate(MORE)])
def test_settings_are_counted_too(name, settings, tiny_model):
    options = options_of(methods.load(name), settings)
    counted = trained(read_shape(read_config(tiny_model)), name, options)
    assert counted.numbers == really_trained(prepared(name, options, tiny_model))


@pytest.mark.parametrize(("kind", "settings"), [
    ("lora", {"r": 2}), ("vera", {}), ("hra", {"r": 4}), ("ia3", {"feedforward_modules": []}), ("oft", {}),
    ("loha", {"r": 3}), ("lokr", {"r": 8}), ("lokr", {"r": 2}),
    ("lokr", {"r": 2, "decompose_both": True, "decompose_factor": 4}),
])  # fmt: skip
def test_any_peft_method_that_is_known_is_counted(kind, settings, tiny_model):
    named = {"type": kind, "options": settings, "target_modules": ["q_proj", "v_proj"]}
    options = options_of(methods.load("peft"), named)
    counted = trained(read_shape(read_config(tiny_model)), "peft", options)
    assert counted.is_known
    assert counted.numbers == really_trained(prepared("peft", options, tiny_model))


def test_widths_are_split_as_peft_splits_them_and_a_method_without_a_formula_says_so():
    from peft.tuners.lokr.layer import factorization

    sizes = [*range(1, 130), 576, 1536, 4096, 11008, 14336]
    factors = (-1, 1, 4, 7, 16)
    assert all(
        two_factors(size, factor) == factorization(size, factor) for size in sizes for factor in factors
    )
    assert not trained(read_shape(LLAMA), "not-yet", None).is_known


LLAMA = {
    "model_type": "llama",
    "hidden_size": 96,  # keys of 32 x 96 are small for 8 bits, the other matrices are not
    "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2,
    "vocab_size": 331,
}  # fmt: skip
GPT2 = {"model_type": "gpt2", "n_embd": 96, "n_layer": 2, "n_head": 6, "n_positions": 77, "vocab_size": 331}
WHOLE = ["embed_tokens", "lm_head"]
HELD_IN_8_BITS = [
    ("full", {}, {**LLAMA, "tie_word_embeddings": True}),
    ("full", {}, {**LLAMA, "tie_word_embeddings": False}),
    ("full", {}, GPT2),
    ("freeze", {"layers": 1}, LLAMA),
    ("freeze", {"layers": 1, "embeddings": True}, {**LLAMA, "tie_word_embeddings": False}),
    ("freeze", {"layers": 1, "head": True, "embeddings": True}, {**LLAMA, "tie_word_embeddings": True}),
    ("freeze", {"layers": 1, "head": True}, {**LLAMA, "tie_word_embeddings": False}),
    ("lora", {"rank": 40}, LLAMA),
    ("lora", {"rank": 44, "modules_to_save": WHOLE}, {**LLAMA, "tie_word_embeddings": False}),
    ("dora", {"rank": 44}, LLAMA),
    ("adalora", {}, LLAMA),
    ("ia3", {}, LLAMA),
    ("vera", {}, LLAMA),
    ("layernorm", {}, LLAMA),
    ("prompt-tuning", {"tokens": 50}, LLAMA),
    ("p-tuning", {"tokens": 50, "hidden": 64}, LLAMA),
    ("prefix-tuning", {"tokens": 50}, LLAMA),
]


@pytest.mark.parametrize("name", ["adamw-8bit", "paged-adamw-8bit"])
@pytest.mark.parametrize(("method", "settings", "config"), HELD_IN_8_BITS)
@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")
def test_an_8_bit_optimizer_holds_what_is_counted(tmp_path, card, name, method, settings, config):
    """bitsandbytes' own states, as transformers' Trainer creates them: embeddings and small tensors in 32 bits."""
    import torch
    from bitsandbytes.optim import GlobalOptimManager
    from transformers import AutoConfig, AutoModelForCausalLM, Trainer, TrainingArguments

    known = AutoConfig.for_model(**config)
    model = AutoModelForCausalLM.from_config(known)
    built = shape.read(model)
    options = options_of(methods.load(method), settings)
    model = methods.load(method).prepare(model, options, start_for(tmp_path))
    GlobalOptimManager.get_instance().initialize()  # it remembers the models of other tests
    arguments = TrainingArguments(
        str(tmp_path), optim=OPTIMIZERS[name].on_gpu, use_cpu=True, report_to="none"
    )
    optimizer = Trainer(model, arguments).create_optimizer()
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight) if weight.requires_grad else None
    optimizer.step()
    GlobalOptimManager.get_instance().initialize()
    states = [entry for state in optimizer.state.values() for entry in state.items()]
    # qmap is one table for all
    really = [held.nbytes for key, held in states if torch.is_tensor(held) and not key.startswith("qmap")]
    assert len(optimizer.state) == sum(weight.requires_grad for weight in model.parameters())

    method_text = json.dumps({"name": method, **settings})
    recipe = load_recipe("full", (f"method={method_text}", f"train.optimizer={name}")).recipe
    work = workload(recipe, built, card, Known())
    counted = work.trained.numbers * work.optimizer_bytes
    assert counted == pytest.approx(sum(really), abs=8 * len(optimizer.state))  # partly filled blocks
    assert master.wide_numbers(model) == work.trained.wide


def test_the_trainer_chooses_by_what_the_optimizer_really_holds(llama_8b):
    """An 8-bit one of a 9B model with 256,000 words holds 5.5 GB more than two bytes per number."""
    gemma = {**llama_8b, **GEMMA_2_9B}
    recipe = load_recipe("full", ("train.optimizer=adamw-8bit",)).recipe
    for config, wide, more in ((llama_8b, 525_336_576, 3.4e9), (gemma, 917_504_000 + 43 * 4 * 3584, 5.76e9)):
        shape = read_shape(config)
        moving = trained(shape, "full", None)
        assert moving.wide == pytest.approx(wide, rel=1e-3)
        share = moving.wide / moving.numbers
        held = moving.numbers * optimizer_bytes(recipe.train, 2.0, share)
        assert held - 2 * moving.numbers == pytest.approx(more, rel=0.01)
        room = moving.numbers * float32_bytes(recipe.train, 2.0, share) / 0.85
        assert held_in(recipe.train, 2.0, moving.numbers, 0.0, room * 1.001, share) == "float32"
        assert held_in(recipe.train, 2.0, moving.numbers, 0.0, room * 0.999, share) == "nearest"


GEMMA_2_9B = {
    "model_type": "gemma2", "hidden_size": 3584, "num_hidden_layers": 42, "num_attention_heads": 16,
    "num_key_value_heads": 8, "head_dim": 256, "intermediate_size": 14336, "vocab_size": 256000,
    "tie_word_embeddings": True,
}  # fmt: skip
