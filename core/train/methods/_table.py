"""Methods that differ only in PEFT's configuration class and its settings: one row each.

A row names the class, maps our settings to its own, and lists what it can't be combined with. What the rows say of
quantized bases was observed with PEFT 0.21.2 and bitsandbytes 0.50.2; tests/core/train/methods checks it again.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.errors import BadInput
from finetop.core.train.methods import Method, lora
from finetop.core.train.methods._adapter import adapted, require_divisor, widths, wrap
from finetop.core.train.methods._options import (
    BoftOptions,
    HraOptions,
    Ia3Options,
    LayernormOptions,
    OftOptions,
    OsfOptions,
    PrefixTuningOptions,
    PromptTuningOptions,
    PTuningOptions,
    RsloraOptions,
    ShiraOptions,
    VeraOptions,
)
from finetop.core.train.methods._settings import LORA
from finetop.core.train.methods._start import ALL_FORMATS, Start

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


@dataclass
class TableMethod(Method[Any]):
    """A method as its configuration."""

    about: str
    options: type[msgspec.Struct]
    config: str  # name of PEFT's class
    spelled: Mapping[str, str] = field()  # our setting -> PEFT's
    fixed: Mapping[str, Any] = field(default_factory=dict)  # PEFT settings with a fixed value
    more: Callable[[PreTrainedModel, Any, Start], dict[str, Any]] | None = None  # computed PEFT settings
    quantized: tuple[str, ...] = ALL_FORMATS
    not_quantized: str = ""
    can_merge: bool = True
    any_size: bool = False
    refuses: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[PreTrainedModel, Any], None] | None = None  # an additional check of the options

    def require(self, model: PreTrainedModel, options: Any) -> None:
        super().require(model, options)
        if self.check is not None:
            self.check(model, options)

    def prepare(self, model: PreTrainedModel, options: Any, start: Start) -> PeftModel:
        import peft

        self.require(model, options)
        settings = {theirs: _plain(getattr(options, ours)) for ours, theirs in self.spelled.items()}
        more = {} if self.more is None else self.more(model, options, start)
        config = getattr(peft, self.config)
        return wrap(model, config(task_type="CAUSAL_LM", **settings, **self.fixed, **more))


def _plain(value: Any) -> Any:
    """Convert a setting to PEFT's form: a tuple to a list, an empty tuple or auto to None."""
    if isinstance(value, tuple):
        return list(value) or None
    return None if value == "auto" else value


WHERE = {"target_modules": "target_modules", "modules_to_save": "modules_to_save"}
TOKENS_FIRST = {
    "objective.packing": "its virtual tokens come before a sequence, so rows in one sequence would mix"
}


def _seeded(key: str) -> Callable[[PreTrainedModel, Any, Start], dict[str, Any]]:
    return lambda model, options, start: {key: start.seed}


def _blocks(model: PreTrainedModel, options: OftOptions | BoftOptions) -> None:
    """Check that the blocks divide the layers' widths; PEFT would silently take another size, or fail."""
    require_divisor(model, options.block_size, options.target_modules)


def _butterflies(model: PreTrainedModel, options: BoftOptions) -> None:
    """Check that PEFT can use several factors here; else it uses one, but saves the number that was requested."""
    _blocks(model, options)
    if options.factors > 1 and not _turns_butterflies():
        message = f"method.factors: {options.factors} need PEFT's CUDA extension, which can't be built here."
        hint = "Set method.factors to 1, and a larger block_size; or install CUDA's compiler and ninja."
        raise BadInput(message, hint=hint)


def _turns_butterflies() -> bool:
    import torch
    from peft.tuners.boft.layer import get_fbd_cuda

    with warnings.catch_warnings(action="ignore"):  # it warns at length that it could not be built
        return torch.cuda.is_available() and get_fbd_cuda() is not None


def _sparse(model: PreTrainedModel, options: ShiraOptions) -> None:
    """Check that every layer has at least as many weights as are to be trained."""
    for path, module in adapted(model, options.target_modules):
        inputs, outputs = widths(module)
        if options.rank * (inputs + outputs) > inputs * outputs:
            most = inputs * outputs // (inputs + outputs)
            message = f"method.rank: {options.rank} asks for more weights than {path.rpartition('.')[2]} has."
            raise BadInput(message, hint=f"Set {most} or less." if most else "Name fewer target_modules.")


def _one_key_a_head(model: PreTrainedModel, options: PrefixTuningOptions) -> None:
    """Check that PEFT can count the key heads: it fails for Falcon's, which are shared."""
    config = model.config.get_text_config()
    if config.model_type == "falcon" and (config.multi_query or config.new_decoder_architecture):
        message = "method: prefix-tuning does not work with Falcon's keys, which its heads share."
        raise BadInput(message, hint="Use prompt-tuning, or lora.")


def _norms(model: PreTrainedModel, options: LayernormOptions, start: Start) -> dict[str, Any]:
    """Return the names of the norms: PEFT knows those of few architectures."""
    if options.target_modules != "auto":
        return {"target_modules": list(options.target_modules)}
    paths = (path for path, module in model.named_modules() if "norm" in type(module).__name__.lower())
    return {"target_modules": sorted({path.rpartition(".")[2] for path in paths})}


def _words(model: PreTrainedModel, options: PromptTuningOptions, start: Start) -> dict[str, Any]:
    """Return how the virtual tokens start; random vectors train far slower than words do (arXiv:2104.08691)."""
    if options.text is None:
        return {"prompt_tuning_init": "SAMPLE_VOCAB"}
    return {
        "prompt_tuning_init": "TEXT",
        "prompt_tuning_init_text": options.text,
        "tokenizer_name_or_path": str(start.base_path),
    }


def _network(model: PreTrainedModel, options: PTuningOptions, start: Start) -> dict[str, Any]:
    return {"encoder_reparameterization_type": options.encoder.upper(), "encoder_dropout": options.dropout}


ROWS: dict[str, TableMethod] = {
    "dora": TableMethod(
        about="LoRA that learns the weights' magnitude and direction separately; slower, often better at low ranks",
        options=lora.Options,
        config="LoraConfig",
        spelled=lora.PLUGIN.spelled,
        fixed={"use_dora": True},  # arXiv:2402.09353
        any_size=True,
        quantized=("none", "nf4"),
        not_quantized="PEFT can't read the lengths of int8 weights",
    ),
    "rslora": TableMethod(
        about="LoRA with rank-stabilised scaling: high ranks learn more",
        options=RsloraOptions,
        config="LoraConfig",
        spelled=LORA,
        fixed={"use_rslora": True},  # arXiv:2312.03732
        any_size=True,
    ),
    "oft": TableMethod(
        about="rotates blocks of each layer's inputs: angles between neurons are preserved",
        options=OftOptions,
        config="OFTConfig",  # arXiv:2306.07280
        spelled={**WHERE, "block_size": "oft_block_size", "dropout": "module_dropout"},
        more=lambda model, options, start: {"use_cayley_neumann": not options.exact},
        check=_blocks,
    ),
    "boft": TableMethod(
        about="orthogonal rotations built from butterfly factors: few parameters, many inputs",
        options=BoftOptions,
        config="BOFTConfig",  # arXiv:2311.06243
        spelled={
            **WHERE,
            "block_size": "boft_block_size",
            "factors": "boft_n_butterfly_factor",
            "dropout": "boft_dropout",
        },
        check=_butterflies,
    ),
    "ia3": TableMethod(
        about="one learned scale per channel: the fewest weights, little new behaviour",
        options=Ia3Options,
        config="IA3Config",  # arXiv:2205.05638
        spelled={**WHERE, "feedforward_modules": "feedforward_modules"},
    ),
    "vera": TableMethod(
        about="learned scales around random matrices shared by all layers: tiny checkpoints",
        options=VeraOptions,
        config="VeraConfig",  # arXiv:2310.11454
        spelled={**WHERE, "rank": "r", "initial": "d_initial", "dropout": "vera_dropout"},
        fixed={"save_projection": True},
        more=_seeded("projection_prng_key"),
    ),
    "osf": TableMethod(
        about="trains only the small singular directions of each matrix: designed against forgetting",
        options=OsfOptions,
        config="OSFConfig",  # arXiv:2504.07097
        spelled={"kept": "effective_rank", "target_modules": "target_modules"},
        quantized=("none",),
        not_quantized="it decomposes each matrix, which needs unquantized weights",
    ),
    "shira": TableMethod(
        about="trains a small random subset of the weights: high rank, few parameters",
        options=ShiraOptions,
        config="ShiraConfig",  # arXiv:2406.13175
        spelled={**WHERE, "rank": "r"},
        more=_seeded("random_seed"),
        check=_sparse,
    ),
    "hra": TableMethod(
        about="Householder reflections of each layer's inputs: between LoRA and rotations",
        options=HraOptions,
        config="HRAConfig",  # arXiv:2405.17484
        spelled={**WHERE, "rank": "r", "orthogonal": "apply_GS"},
        quantized=("none",),
        not_quantized="PEFT multiplies the weights themselves, and misreads quantized ones",
    ),
    "layernorm": TableMethod(
        about="trains only the norms' scales: a tiny change",
        options=LayernormOptions,
        config="LNTuningConfig",  # arXiv:2312.11420
        spelled={"modules_to_save": "modules_to_save"},
        more=_norms,
    ),
    "prompt-tuning": TableMethod(
        about="virtual tokens before every text; the model itself is frozen",
        options=PromptTuningOptions,
        config="PromptTuningConfig",  # arXiv:2104.08691
        spelled={"tokens": "num_virtual_tokens"},
        more=_words,
        can_merge=False,
        refuses=TOKENS_FIRST,
    ),
    "p-tuning": TableMethod(
        about="virtual tokens produced by a small network; the model itself is frozen",
        options=PTuningOptions,
        config="PromptEncoderConfig",  # arXiv:2103.10385
        spelled={"tokens": "num_virtual_tokens", "hidden": "encoder_hidden_size"},
        more=_network,
        can_merge=False,
        refuses=TOKENS_FIRST,
    ),
    "prefix-tuning": TableMethod(
        about="learned keys and values before every layer's own; the model itself is frozen",
        options=PrefixTuningOptions,
        config="PrefixTuningConfig",  # arXiv:2101.00190
        spelled={"tokens": "num_virtual_tokens"},
        check=_one_key_a_head,
        can_merge=False,
        refuses={
            **TOKENS_FIRST,
            "train.activation_checkpointing": "its keys and values are lost where activations are recomputed",
        },
    ),
}
