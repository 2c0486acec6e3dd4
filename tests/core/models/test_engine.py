"""Other engines generate what the exact one does, token for token in float32, even with a cache that is too small."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    DeepseekV3Config,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MistralConfig,
    MistralForCausalLM,
)
from transformers.generation.continuous_batching import (
    cache,
    continuous_api,
    input_outputs,
    model_runner,
    offloading_manager,
)

from finetop.core.errors import BadInput
from finetop.core.models import continuous, devices, engine, shape as shapes
from finetop.core.plan import answers
from finetop.core.recipe.load import load_recipe

# PEFT uses an attribute that transformers renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
SIZES: dict[str, Any] = {
    "vocab_size": 200, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip
ENDS = [2, 3]


def llama() -> Any:
    return LlamaForCausalLM(LlamaConfig(**SIZES))


def windowed() -> Any:
    return MistralForCausalLM(MistralConfig(**SIZES, sliding_window=16))


def adapted() -> Any:
    return get_peft_model(llama(), LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))


def loud(make: Callable[[], Any]) -> Any:
    torch.manual_seed(0)
    model = make()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2 and "lora" not in name:
                weight.normal_(0, 0.3)
    return model


def prompts() -> list[list[int]]:
    some = torch.Generator().manual_seed(1)
    return [[1, *torch.randint(5, 200, (n,), generator=some).tolist()] for n in (5, 30, 17, 80, 3, 44)]


def greedy() -> Any:
    return GenerationConfig(do_sample=False, max_new_tokens=10, eos_token_id=ENDS, pad_token_id=0)


def asked_for() -> list[Any]:
    return [continuous.GenerationRequest(one, 10) for one in prompts()]


@pytest.mark.parametrize("make", [llama, windowed, adapted])
@pytest.mark.parametrize("held", [10_000, 100])
def test_answers_are_those_of_the_exact_engine(make, held):
    model = loud(make).train()
    written = continuous.write(model, asked_for(), greedy(), held=held, at_once=64)
    assert model.training
    assert written == engine.write(model.eval(), prompts(), greedy(), "exact")
    assert len({len(one) for one in written}) > 1 or len(written[0]) == 10


def mixed() -> Any:
    kinds = ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"]
    sizes = {**SIZES, "num_hidden_layers": 4, "head_dim": 8, "sliding_window": 16, "layer_types": kinds}
    return Gemma3ForCausalLM(Gemma3TextConfig(**sizes))


@pytest.mark.parametrize("make", [llama, windowed, mixed])
@pytest.mark.parametrize("held", [10_000, 100])
def test_what_transformers_holds_is_counted(make, held, monkeypatch):
    """Its cache, masks and indexes, for the plan: at 4,096 tokens per step masks take more than many models."""
    model, found = make().bfloat16(), []
    original = input_outputs.ContinuousBatchingIOs._setup_static_tensors

    def look(made: Any, **named: Any) -> None:
        original(made, **named)
        tensors = [*made.attention_mask.values(), made.write_index_storage, made.read_index_storage]
        found.append(sum(one.nbytes for one in (*tensors, made.cache.cache_tensor)))

    monkeypatch.setattr(input_outputs.ContinuousBatchingIOs, "_setup_static_tensors", look)
    asked = [continuous.GenerationRequest([1] * 54, 10) for _ in range(24)]
    continuous.write(model, asked, greedy(), held=held, at_once=64)
    sets = ("train.batch_size=24", "train.grad_accumulation=1", "model.engine=continuous")
    recipe = load_recipe("grpo", sets).recipe
    monkeypatch.setattr(answers, "at_once", lambda device: 64)
    monkeypatch.setattr(answers, "tokens_in_room", lambda token, read: held)
    shape = shapes.read(model)
    assert shape is not None
    planned = answers.held("continuous", recipe, shape, 64, 2.0, on_gpu=True, flash=True)
    assert [planned] == found
    monkeypatch.setattr(answers, "writes_with_flash", lambda **_: True)
    assert answers.held("continuous", recipe, shape, 64, 2.0, on_gpu=True, flash=True) < planned


def test_an_answer_ends_where_it_is_said_to():
    model, asked = loud(llama).eval(), prompts()
    whole = engine.write(model, asked, greedy(), "exact")
    stops = [continuous.GenerationRequest(one, 10, lambda tokens: len(tokens) == 4) for one in asked]
    assert continuous.write(model, stops, greedy(), held=1000, at_once=64) == [one[:4] for one in whole]
    lengths = [continuous.GenerationRequest(one, at + 1) for at, one in enumerate(asked)]
    written = continuous.write(model, lengths, greedy(), held=1000, at_once=64)
    assert written == [one[: at + 1] for at, one in enumerate(whole)]


def test_the_trial_of_the_longest_answers_has_no_end():
    model = loud(llama).eval()
    ends = {engine.write(model, prompts(), greedy(), "exact")[0][0]}
    config = GenerationConfig(do_sample=False, max_new_tokens=6, eos_token_id=[*ends], min_new_tokens=6)
    assert [len(one) for one in engine.write(model, prompts(), config, "continuous")] == [6] * 6
    assert config.min_new_tokens == 6 and config.eos_token_id == [*ends]


def test_the_same_seed_draws_the_same_and_uses_up_one_number():
    model = loud(llama).eval()
    config = GenerationConfig(do_sample=True, temperature=1.0, top_k=0, max_new_tokens=8, eos_token_id=ENDS)

    def drawn(seed: int) -> tuple[list[list[int]], float]:
        torch.manual_seed(seed)
        return engine.write(model, prompts(), config, "continuous"), float(torch.rand(()))

    torch.manual_seed(5)
    torch.randint(2**31, ())
    assert drawn(5) == drawn(5)
    assert drawn(5)[0] != drawn(6)[0]


def test_an_error_comes_through_and_leaves_the_model_as_it_was(monkeypatch):
    model = loud(llama).train()

    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(type(model), "forward", full)
    with pytest.raises(torch.OutOfMemoryError):
        engine.write(model, prompts(), greedy(), "continuous")
    assert model.training and model.config._attn_implementation == "sdpa"


def test_the_cache_holds_no_more_than_it_may(monkeypatch):
    model, made = loud(llama).eval(), []
    begin = type(model).init_continuous_batching

    def noted(self: Any, config: Any, settings: Any) -> Any:
        made.append(settings.num_blocks * continuous.PAGE)
        return begin(self, config, settings)

    monkeypatch.setattr(type(model), "init_continuous_batching", noted)
    for held in (64, 160, 100_000):
        continuous.write(model, asked_for(), greedy(), held=held, at_once=64)
    longest, every, page = max(len(one) for one in prompts()) + 10, sum(map(len, prompts())), continuous.PAGE
    assert longest < made[0] <= longest + 2 * page
    assert made[1] == 160 + page
    assert every < made[2] <= every + 60 + 7 * page


def test_what_writes_is_chosen_by_device_and_model(monkeypatch):
    def chosen(wanted: Any, device: str, dtype: str, config: Any = None, **more: bool) -> str:
        return engine.engine_for(wanted, device, dtype, config or LlamaConfig(), **more)

    assert chosen("auto", "cuda:0", "bfloat16") == "exact"  # flash-attn is not installed
    assert chosen("continuous", "cpu", "bfloat16") == "continuous"
    monkeypatch.setattr(continuous, "has_flash", lambda: True)
    assert chosen("auto", "cpu", "bfloat16") == "exact"
    assert chosen("vllm", "cuda:0", "bfloat16") == "continuous-flash"  # without copies vLLM is not used
    assert chosen("vllm", "cuda:0", "bfloat16", copies=True) == "vllm"
    assert chosen("auto", "cuda:0", "float32") == "exact"  # flash-attn has no such kernels
    assert chosen("continuous", "cuda:0", "float32") == "continuous"
    assert chosen("exact", "cuda:0", "bfloat16") == "exact"
    assert chosen("auto", "cuda:0", "bfloat16", MambaConfig()) == "exact"
    monkeypatch.setattr(devices, "has_bfloat16", lambda _: False)  # a T4, on which flash-attn has no kernels
    assert chosen("auto", "cuda:0", "float16") == "exact"
    assert chosen("continuous", "cuda:0", "float16") == "continuous"
    for other, why in ((MambaConfig(), "the code of this model"), (DeepseekV3Config(), "two widths")):
        with pytest.raises(BadInput, match=why):
            chosen("continuous", "cpu", "bfloat16", other)
    with pytest.raises(BadInput, match="vllm does not work with virtual tokens"):
        chosen("vllm", "cpu", "float32", learned_tokens=True, copies=True)
    with pytest.raises(BadInput, match="virtual tokens"):
        chosen("continuous", "cpu", "bfloat16", learned_tokens=True)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the list of transformers classes that continuous batching builds, each with its own stream as on a GPU."""
    found: list[Any] = []
    begin = continuous_api.ContinuousBatchProcessor.__init__
    begin_ios = input_outputs.ContinuousBatchingIOs.__init__

    def ios(self: Any, *given: Any, **named: Any) -> None:
        begin_ios(self, *given, **named)
        self.compute_stream = SideStream()

    def processor(self: Any, *given: Any, **named: Any) -> None:
        begin(self, *given, **named)
        found.append(weakref.ref(self.cache.cache_tensor))

    monkeypatch.setattr(input_outputs.ContinuousBatchingIOs, "__init__", ios)
    monkeypatch.setattr(continuous_api.ContinuousBatchProcessor, "__init__", processor)
    return found


class SideStream:
    """Stands in for a CUDA stream beside the current one, which waits for no other."""

    def synchronize(self) -> None:
        pass


def test_it_computes_on_the_stream_that_weights_were_written_on(made, monkeypatch):
    streams = []
    for module in (continuous_api, model_runner, offloading_manager):
        monkeypatch.setattr(module, "stream_context", lambda stream: streams.append(stream) or nullcontext())
    continuous.write(loud(llama).eval(), asked_for(), greedy(), held=100, at_once=64)
    assert len(streams) >= 10
    assert set(streams) == {None}


def test_its_cache_goes_when_the_answers_are_there_and_nothing_is_swept(made, monkeypatch):
    """On a GPU, emptying the cache at each training step returned all memory, which was then allocated again."""
    swept = []
    monkeypatch.setattr(torch.cpu, "empty_cache", lambda: swept.append("memory"), raising=False)
    model = loud(llama).eval()
    gc.collect()
    gc.disable()
    try:
        monkeypatch.setattr(gc, "collect", lambda *_: swept.append("garbage"))
        for _ in range(2):
            continuous.write(model, asked_for(), greedy(), held=1000, at_once=64)
            assert made.pop()() is None
    finally:
        gc.enable()
    assert swept == []


def test_a_gpu_that_lacks_memory_is_told_of_by_torch():
    """transformers compares an estimate with the driver's free memory, and raises MemoryError as for the host's."""
    manager = loud(llama).init_continuous_batching(greedy())
    look = cache.get_device_and_memory_breakdown
    with continuous._ours(manager, torch.device("cuda", 1)):
        device, total, reserved, allocated = cache.get_device_and_memory_breakdown()
        assert (device, reserved, allocated) == (torch.device("cuda", 1), 0, 0)
        assert total > 1 << 60
    assert cache.get_device_and_memory_breakdown is look
    with continuous._ours(manager, torch.device("cpu")):
        assert cache.get_device_and_memory_breakdown is look


@pytest.mark.gpu(needs="kernels")
def test_on_a_gpu_it_reads_weights_behind_the_kernels_that_write_them(monkeypatch):
    """The stream is held up, then weights change in place: answers must be those of the new weights."""
    model = loud(llama).to("cuda:0").eval()
    before = engine.write(model, prompts(), greedy(), "exact")
    streams = set()
    model.register_forward_pre_hook(lambda *_: streams.add(torch.cuda.current_stream()))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: pytest.fail("memory is handed back"))
    mine = torch.cuda.Stream()
    with torch.cuda.stream(mine), torch.no_grad():
        torch.cuda._sleep(1 << 30)
        for weight in model.parameters():
            weight.mul_(-1.0)
        written = continuous.write(model, asked_for(), greedy(), held=1000, at_once=64)
        assert streams == {mine}
        assert written == engine.write(model, prompts(), greedy(), "exact")
    assert written != before
