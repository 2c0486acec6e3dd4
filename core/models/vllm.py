"""Answers written by vLLM, which holds a copy of a model's weights of its own, beside the model.

The copy is made of the base's files once, and takes the model's weights before it writes: an adapter is added to each
matrix in passing, and what trains keeps its digits. A copy is this process's own; it lives until it is let go.
"""

from __future__ import annotations

import gc
import math
import os
import warnings
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import psutil

from finetop.core.data.weight_files import weight_files
from finetop.core.errors import BadInput, EnvironmentTrouble, FinetopError, first_line
from finetop.core.models import kernels
from finetop.core.models.devices import memory_of
from finetop.core.models.forward import cache_bytes, longest_input
from finetop.core.models.safetensors_header import read_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

    from finetop.core.models.resolved import ResolvedModel

BYTES = 3 << 29  # of its workspaces
SETTINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # weights are handed over in memory
    "VLLM_NO_USAGE_STATS": "1",  # it would tell its makers what runs here
    "VLLM_LOGGING_LEVEL": "ERROR",
}
PAGE = 128  # tokens that it hands out room for together, at most
SPARE_PAGES = 4  # it keeps some, and more where layers have windows


def require(device: str) -> None:
    """See that vLLM can write here, and have it keep quiet. Raises EnvironmentTrouble."""
    if find_spec("vllm") is None:
        hint = "Install it (pip install 'finetop[vllm]'), or set model.engine to auto."
        raise EnvironmentTrouble("model.engine: vllm is not installed.", hint=hint)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from vllm.platforms import current_platform

    kind = device.partition(":")[0]
    if current_platform.device_type != kind:
        said = f"model.engine: the installed vllm runs on {current_platform.device_type or 'nothing here'}"
        raise EnvironmentTrouble(f"{said}, but this run is on {kind}.", hint="Set model.engine to auto.")
    if kind == "cuda":  # kernels of its own, and it compiles the model
        kernels.require_triton("model.engine: vllm", "set model.engine to auto")


def require_reach(config: Any, device: str) -> None:
    """See that new weights reach all of a copy of a model with this configuration. Raises BadInput."""
    if device == "cpu" and getattr(config.get_text_config(), "tie_word_embeddings", False):
        said = (
            "model.engine: on a CPU, vllm can't update an output layer that is tied to the embeddings,"
            " as in this model."
        )
        raise BadInput(said, hint="Set model.engine to auto.")


def share_of(device: str, held: float) -> float:
    """Return the share of a device's memory that a copy may take which holds so many bytes of weights and cache."""
    if device == "cpu":  # there it counts all that the process holds
        held += psutil.Process().memory_info().rss
    return min(0.9, (held + BYTES) / (memory_of(device) or math.inf))


def open_copy(base: ResolvedModel, config: Any, dtype: str, device: str) -> Copy:
    """Make ready to hold a copy of a base, which is opened as it first writes. Raises BadInput, EnvironmentTrouble."""
    require(device)
    require_reach(config, device)
    return Copy(base.path, dtype, base.trust_remote_code)


def hand_over(opened: Any, model: Any, folder: Path) -> None:
    """Let an opened copy of the model in a folder compute with what `model` computes with now.

    Raises FinetopError where the model names its weights otherwise than their files: the copy would keep its own.
    """
    saved = {name for file in weight_files(folder) for name in read_header(file)}

    def known() -> Iterator[tuple[str, Tensor]]:
        for name, weight in weights_of(model):
            if name not in saved:
                said = f"model.engine: vllm can't take the weights of this model: {name} is not in its files."
                raise FinetopError(said, hint="Set model.engine to auto.")
            yield name, weight

    if model.device.type == "cuda":
        opened.apply_model(lambda copy: copy.load_weights(known()))
    else:  # what a CPU computes with was put in another order
        opened.collective_rpc("reload_weights", kwargs={"weights_iterator": known()})
    opened.reset_prefix_cache()


def weights_of(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield each weight as the model computes with it now, by the name that it has without an adapter.

    An adapter that is on is added to a copy of its layer's weights, one layer at a time: to add it and take it off
    again in 16 bits would leave the base's last digits changed.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    told: set[int] = set()

    def walk(module: Any, path: str) -> Iterator[tuple[str, Tensor]]:
        if isinstance(module, BaseTunerLayer):
            yield from _merged(module, path, told)
            return
        if isinstance(module, ModulesToSaveWrapper):
            is_off = module.disable_adapters or not module.active_adapters
            own = module.original_module if is_off else module.modules_to_save[module.active_adapters[0]]
            yield from walk(own, path)
            return
        yield from _own(module, path, told)
        for name, child in module.named_children():
            yield from walk(child, f"{path}{name}.")

    yield from walk(inner, "")


def _own(module: Any, path: str, told: set[int]) -> Iterator[tuple[str, Tensor]]:
    for name, weight in module.named_parameters(recurse=False):
        if id(weight) not in told:  # a head that is the embedding
            told.add(id(weight))
            yield path + name, weight.data


def _merged(layer: Any, path: str, told: set[int]) -> Iterator[tuple[str, Tensor]]:
    """Yield a layer's weights with its adapter in them; the layer itself is as it was before the first is taken."""
    base = layer.get_base_layer()
    if layer.disable_adapters or layer.merged:
        yield from _own(base, path, told)
        return
    if layer.base_layer is not base:  # an adapter of another parameter of the module
        said = f"model.engine: vllm reads merged weights, but {path[:-1]} has one adapter within another."
        raise FinetopError(said, hint="Set model.engine to auto.")
    held = [(weight, weight.data) for weight in base.parameters(recurse=False)]
    for weight, data in held:
        weight.data = data.clone()
    try:
        layer.merge()
        merged = [(name, weight.clone()) for name, weight in _own(layer.get_base_layer(), path, told)]
        with warnings.catch_warnings():  # to take it off is inexact: the weights are put back below
            warnings.simplefilter("ignore")
            layer.unmerge()
    except (ValueError, NotImplementedError, AttributeError) as error:
        said = (
            f"model.engine: vllm reads merged weights, but {path[:-1]} can't be merged: {first_line(error)}"
        )
        raise FinetopError(said, hint="Set model.engine to auto.") from error
    finally:
        layer.merged_adapters.clear()
        for weight, data in held:
            weight.data = data
    yield from merged


@dataclass
class Copy:
    """A copy of a model in vLLM, opened when it first writes, and again where an answer needs more room."""

    folder: Path  # of the base: configuration, tokenizer, weights
    dtype: str
    trust_remote_code: bool = False
    room: int = 0  # tokens of a prompt and its answer, at most
    opened: Any = field(default=None, repr=False)

    def write(
        self,
        model: Any,
        asked: Sequence[tuple[Sequence[int], int, Sequence[str]]],
        ends: Sequence[int],
        held: int,
    ) -> list[list[int]]:
        """Write greedily on behind each prompt, up to so many tokens or a stop string; an answer has its end with it.

        `held` tokens of prompts and answers are kept at most, or those of the longest.
        """
        from vllm import SamplingParams

        longest = max(len(prompt) + most for prompt, most, _ in asked)
        if self.opened is None or longest > self.room:
            self._open(model, max(held, longest))
        hand_over(self.opened, model, self.folder)
        settings = [
            SamplingParams(
                temperature=0.0,
                max_tokens=most,
                stop=list(stops) or None,
                include_stop_str_in_output=True,
                stop_token_ids=list(ends),
                ignore_eos=True,  # the ends are told
                skip_special_tokens=False,  # a stop string may be the text of one
            )
            for _, most, stops in asked
        ]
        prompts = [{"prompt_token_ids": list(prompt)} for prompt, _, _ in asked]
        written = self.opened.generate(prompts, settings, use_tqdm=False)
        return [list(one.outputs[0].token_ids) for one in written]

    def _open(self, model: Any, tokens: int) -> None:
        from vllm import LLM

        self.close()
        self.room = min(longest_input(model.config), tokens)
        cache = (-(-tokens // PAGE) + SPARE_PAGES) * PAGE * cache_bytes(model)
        weights = sum(weight.numel() for weight in model.parameters()) * model.dtype.itemsize
        print("vllm: loading a copy of the model", flush=True)
        self.opened = LLM(
            model=str(self.folder),
            dtype=self.dtype,
            max_model_len=self.room,
            kv_cache_memory_bytes=cache,
            gpu_memory_utilization=share_of(str(model.device), weights + cache),
            generation_config="vllm",  # a model's own settings for drawing answers are not asked
            enforce_eager=True,  # weights that train move under a graph that was kept
            trust_remote_code=self.trust_remote_code,
            disable_log_stats=True,
            use_tqdm_on_load=False,
            seed=0,
        )

    def __enter__(self) -> Copy:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the copy: its memory is free for what comes next."""
        if self.opened is None:
            return
        from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

        self.opened = None
        gc.collect()
        cleanup_dist_env_and_memory()
