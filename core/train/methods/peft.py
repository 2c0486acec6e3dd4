"""Any other PEFT adapter, named by its type; its settings are checked against the installed class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from finetop.core.errors import BadInput, did_you_mean, first_line
from finetop.core.train.methods import Method
from finetop.core.train.methods._adapter import listed, require_modules, wrap
from finetop.core.train.methods._settings import TargetModules
from finetop.core.train.methods._start import Start

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel


# Types that need what a run here can't provide, or that fail with PEFT 0.21.2 and transformers 5.24.
UNFIT = {
    "XLORA": "it mixes existing adapters",
    "POLY": "it needs a task id with every row",
    "MULTITASK_PROMPT_TUNING": "it needs a task id with every row",
    "CPT": "it needs the type of every token",
    "CARTRIDGE": "it is distilled from a long text",
    "SHADOW": "it does not run with this transformers",
    "TRAINABLE_TOKENS": "it does not fit models whose output layer is their embeddings",
}
UNMERGED = ("BEFT", "LILY", "ADAPTION_PROMPT")  # not part of a weight matrix, or PEFT can't merge them
OURS = {  # types that have a method of their own here, with checked settings
    "PROMPT_TUNING": "prompt-tuning",
    "P_TUNING": "p-tuning",
    "PREFIX_TUNING": "prefix-tuning",
    "ADALORA": "adalora",
}
SET_ELSEWHERE = {
    "task_type": "the default: it is always CAUSAL_LM",
    "peft_type": "method.type",
    "inference_mode": "the default: this run trains",
    "base_model_name_or_path": "model.id",
    "revision": "model.revision",
    "auto_mapping": "the default",
    "peft_version": "the default",
    "target_modules": "method.target_modules",
}
# These initialisations change the base's weights: base and saved adapter would no longer be what they seem.
MOVES_BASE = {"pissa": "pissa", "olora": "olora", "corda": "corda", "loftq": "loftq", "lora_ga": "pissa"}


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `method:` when its name is peft."""

    type: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=100,
            description="PEFT's name for the adapter: lokr, loha, miss …; the full list: docs/methods.md.",
        ),
    ] = "lokr"
    options: Annotated[
        dict[str, Any],
        Meta(
            description="Arguments of that type's PEFT config class, such as {r: 8} for LoKrConfig.",
            extra={"belongs_to": "type"},
        ),
    ] = {}
    target_modules: TargetModules = "all-linear"


class OtherAdapter(Method[Options]):
    about = "any other PEFT adapter, by its type (lokr, loha, miss, fourierft …) and options"
    options = Options
    quantized = ("none",)
    not_quantized = "most of PEFT's other adapters misread quantized weights"

    def require(self, model: PreTrainedModel, options: Options) -> None:
        """Check that the type and its settings exist, and that named modules are in the model. Raises BadInput."""
        super().require(model, options)
        config_of(options)

    def prepare(self, model: PreTrainedModel, options: Options, start: Start) -> PeftModel:
        require_modules(model, options)
        return wrap(model, config_of(options))

    def merges(self, options: Options) -> bool:
        """Return whether PEFT can merge an adapter of this type into the base's weights."""
        return _spelled(options.type) not in UNMERGED


def config_of(options: Options) -> PeftConfig:
    """Build PEFT's configuration. Raises BadInput for an unknown type or setting."""
    import dataclasses

    kind = _class_of(options.type)
    known = {field.name for field in dataclasses.fields(kind) if field.init}
    for name, value in options.options.items():
        _require_setting(name, value, known, options.type)
    where = {"target_modules": listed(options.target_modules)} if "target_modules" in known else {}
    try:
        return kind(task_type="CAUSAL_LM", **where, **options.options)
    except (ValueError, TypeError) as error:
        hint = "Change that setting."
        raise BadInput(f"method.options: {options.type}: {first_line(error)}", hint=hint) from error


def _class_of(name: str) -> type[PeftConfig]:
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    classes = {str(kind.value): config_class for kind, config_class in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    spelled = _spelled(name)
    if spelled in UNFIT:
        hint = "Use another type."
        raise BadInput(f"method.type: {name} can't be trained here: {UNFIT[spelled]}.", hint=hint)
    if spelled in OURS:
        hint = f"Set method.name to {OURS[spelled]}."
        raise BadInput(f"method.type: {name} is a method of its own.", hint=hint)
    if spelled not in classes:
        known = [kind.lower().replace("_", "-") for kind in classes if kind not in UNFIT]
        raise BadInput(f"method.type: PEFT has no {name[:60]!r}.", hint=did_you_mean(name[:60], known))
    config: type[PeftConfig] = classes[spelled]
    return config


def _spelled(name: str) -> str:
    return name.upper().replace("-", "_")


def _require_setting(name: str, value: Any, known: set[str], kind: str) -> None:
    key = f"method.options.{name}"
    if name in SET_ELSEWHERE:
        raise BadInput(f"{key}: it is set elsewhere.", hint=f"Use {SET_ELSEWHERE[name]}.")
    if name not in known:
        raise BadInput(f"{key} is not an option of {kind}.", hint=did_you_mean(name, known))
    moves = next((start for start in MOVES_BASE if str(value).lower().startswith(start)), None)
    if name == "init_lora_weights" and moves is not None:
        hint = f"Set method.name to {MOVES_BASE[moves]}, which keeps the base."
        raise BadInput(f"{key}: {value} changes the base's weights.", hint=hint)


PLUGIN = OtherAdapter()
