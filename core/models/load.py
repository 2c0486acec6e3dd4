"""Loads a resolved model and its tokenizer from safetensors, and reports what is wrong with one that can't be."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.data.weight_files import weight_files
from finetop.core.errors import BadInput, EnvironmentTrouble, first_line
from finetop.core.models import config_file, devices, quantize, safetensors_header, weight_formats
from finetop.core.models.resolved import ResolvedModel
from finetop.core.runtime.failures import is_of_machine
from finetop.core.runtime.files import read_given
from finetop.core.text import plain

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ADAPTER_CONFIG = "adapter_config.json"


def check_folder(path: Path, model_id: str) -> None:
    """Refuse a folder without a usable model. Raises BadInput."""
    if not path.is_dir():
        hint = "Give a hub id such as org/name, or a model's folder."
        raise BadInput(f"model.id: no folder {model_id}.", hint=hint)
    if not (path / "config.json").is_file():
        if is_adapter(path):
            hint = "Give the base model as model.id; an adapter is made by training."
            raise BadInput(f"model.id: {model_id} is an adapter, not a whole model.", hint=hint)
        hint = "Give the folder of a saved model."
        raise BadInput(f"model.id: {model_id} holds no config.json.", hint=hint)
    config_file.read(path / "config.json")
    files = weight_files(path)
    if not files:
        raise BadInput(
            f"model.id: {model_id} has no .safetensors weights; pickled ones can run any code when opened.",
            hint="Convert it with save_pretrained of a recent transformers, and give the new folder.",
        )
    safetensors_header.require_few(files)


def read_config(base: ResolvedModel) -> Any:
    """Read a model's configuration. Raises OSError, or the library's own error, if it can't be read."""
    from transformers import AutoConfig

    remote = base.trust_remote_code
    return AutoConfig.from_pretrained(base.path, trust_remote_code=remote, local_files_only=True)


def shape_of(base: ResolvedModel) -> Any:
    """Build a model from its config.json, on the device that torch is told to use, without its weights.

    Raises BadInput as load_model does, for what is no causal language model.
    """
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_config(read_config(base), trust_remote_code=base.trust_remote_code)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unusable(base, "model", error) from error


def has_tokenizer(folder: Path) -> bool:
    """Return whether a tokenizer was saved in a folder."""
    names = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")
    return any((folder / name).is_file() for name in names)


def tokenizer_file(folder: Path) -> Any:
    """Read the tokenizer.json of a folder with only the library `tokenizers`. Raises BadInput."""
    import tokenizers

    file = folder / "tokenizer.json"
    try:
        return tokenizers.Tokenizer.from_str(read_given(file).decode())
    except Exception as error:  # the library raises plain Exceptions
        hint = "Copy the model again."
        raise BadInput(f"{plain(str(file))} can't be read: {first_line(error)}", hint=hint) from error


def read_template(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return read_given(Path(path)).decode()
    except (OSError, ValueError) as error:
        raise BadInput(f"model.chat_template: can't read {path}: {error}.") from error


def torch_dtype(name: str, device: str) -> torch.dtype:
    """Return torch's number format of this name. Raises BadInput if the GPU can't compute in it."""
    import torch

    if name == "bfloat16" and device.startswith("cuda") and not devices.has_bfloat16(device):
        card = torch.cuda.get_device_name(device)
        hint = "Set model.dtype to auto, which is float16 there, or to float32."
        raise BadInput(f"model.dtype is bfloat16, and {card} can't compute in it.", hint=hint)
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise BadInput(f"model.dtype: {name!r} is not a number format.", hint="Set bfloat16 or float32.")
    return dtype


# For base models without a chat template. Saved with every checkpoint; the base is scored with it too.
PLAIN_TEMPLATE = (
    "{%- for message in messages %}"
    "{%- if message.role == 'assistant' %}{{ '### Answer\n' + message.content + (eos_token or '') + '\n' }}"
    "{%- elif message.role == 'system' %}{{ message.content + '\n\n' }}"
    "{%- else %}{{ '### Question\n' + message.content + '\n\n' }}"
    "{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '### Answer\n' }}{%- endif %}"
)


def tokenizer_of(base: ResolvedModel, checkpoint: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer that was saved with a checkpoint, with its template, else the base's. Raises BadInput."""
    if has_tokenizer(checkpoint):
        return load_tokenizer(replace(base, path=checkpoint, chat_template=None))
    return load_tokenizer(base)


def load_tokenizer(resolved: ResolvedModel) -> PreTrainedTokenizerBase:
    """Load the tokenizer with a padding token and a template: the recipe's, its own or a plain one. Raises BadInput."""
    from transformers import AutoTokenizer

    try:
        path, remote = resolved.path, resolved.trust_remote_code
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=remote, local_files_only=True)
    except (
        Exception
    ) as error:  # each library has its own for a damaged file, some without a common base class
        if is_of_machine(error):
            raise
        raise _unusable(resolved, "tokenizer", error) from error
    if tokenizer.pad_token_id is None:
        # Padding is never learned from or attended to, so any existing token will do.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token or tokenizer.convert_ids_to_tokens(0)
    if resolved.chat_template is not None:
        tokenizer.chat_template = resolved.chat_template
    elif tokenizer.chat_template is None:
        begins_text = tokenizer.bos_token and tokenizer("a").input_ids[0] == tokenizer.bos_token_id
        tokenizer.chat_template = ("{{ bos_token }}" if begins_text else "") + PLAIN_TEMPLATE
    return tokenizer


def has_plain_template(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether a tokenizer came without a chat template and got the plain one."""
    return str(tokenizer.chat_template).endswith(PLAIN_TEMPLATE)


def load_model(
    resolved: ResolvedModel, dtype: torch.dtype, device: str
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the model onto the device, its linear layers quantized if `resolved` says so, and its tokenizer.

    Raises BadInput if it is not a causal language model, needs its own code, or lacks weights, and
    EnvironmentTrouble if it can't be quantized here.
    """
    from transformers import AutoModelForCausalLM

    require_text(resolved.path, f"model.id: {resolved.id}")
    tokenizer = load_tokenizer(resolved)
    placed = quantize.quantized(resolved, dtype, device)
    try:
        model, loading_info = AutoModelForCausalLM.from_pretrained(
            resolved.path,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=resolved.trust_remote_code,
            local_files_only=True,
            output_loading_info=True,
            **placed,
        )
    except Exception as error:
        if is_of_machine(error):
            raise
        if isinstance(error, ImportError | RuntimeError) and resolved.quantize != "none":
            library = weight_formats.load(resolved.quantize).library
            message = f"model.quantize: {resolved.quantize} is not available here: {first_line(error)}"
            hint = f"Set model.quantize to none (--quantize none), or fix {library}."
            raise EnvironmentTrouble(message, hint=hint) from error
        raise _unusable(resolved, "model", error) from error
    missing = sorted(loading_info["missing_keys"])
    return put_on(model, device, missing, resolved, is_placed=bool(placed)), tokenizer


def put_on(
    model: PreTrainedModel, device: str, missing: Sequence[str], resolved: ResolvedModel, *, is_placed: bool
) -> PreTrainedModel:
    """Move a model that was just read to its device, unless it is there. Raises BadInput for `missing` weights.

    transformers fills those with random numbers and continues: every score would be of a broken model.
    """
    if missing:
        message = f"model.id: {resolved.id} has no weights for {missing[0]} ({len(missing)} missing)."
        hint = "Its files do not fit its config.json. Download it again, or give another model."
        raise BadInput(message, hint=hint)
    quantize.pass_gradients(model)
    quantize.copy_from_file(model)
    return model if is_placed else model.to(device)


def is_adapter(folder: Path) -> bool:
    """Return whether a folder has an adapter, not a whole model."""
    return (folder / ADAPTER_CONFIG).is_file()


def adapter_config(folder: Path) -> dict[str, Any]:
    """Return an adapter's configuration; empty for a whole model, or a broken file, which loading it reports."""
    try:
        return config_file.read_object(folder / ADAPTER_CONFIG)
    except BadInput:
        return {}


def is_reward_model(folder: Path) -> bool:
    """Return whether a saved model, or adapter, scores texts instead of generating them."""
    for name in (ADAPTER_CONFIG, "config.json"):
        try:
            config = config_file.read_object(folder / name)
        except BadInput:
            continue  # missing; or broken, which loading it reports
        kinds = config.get("architectures")
        kinds = kinds if isinstance(kinds, list) else ()
        scores = any(str(kind).endswith("ForSequenceClassification") for kind in kinds)
        return config.get("task_type") == "SEQ_CLS" or scores
    return False


def require_text(folder: Path, name: str) -> None:
    """Check that a saved model generates text. Raises BadInput."""
    if is_reward_model(folder):
        hint = "Pick one that does; this one can be the objective.reward.model of ppo, rloo or grpo."
        raise BadInput(f"{name} is a reward model, which generates no text.", hint=hint)


def _unusable(resolved: ResolvedModel, part: str, error: Exception) -> BadInput | EnvironmentTrouble:
    text = str(error)
    if "trust_remote_code" in text:
        hint = "Read that code, then set model.trust_remote_code: true; or pick another model."
        return BadInput(f"model.id: {resolved.id} needs to run Python code that comes with it.", hint=hint)
    if "Unrecognized configuration class" in text:
        message = f"model.id: {resolved.id} is not a causal language model."
        return BadInput(message, hint="Pick one that generates text.")
    if isinstance(error, ImportError):
        message = f"model.id: {resolved.id} needs a package that is not installed: {first_line(error)}"
        return EnvironmentTrouble(message, hint="Install it, or pick another model.")
    return BadInput(
        f"model.id: can't load the {part} of {resolved.id}: {first_line(error)}",
        hint="Its files may be damaged: download it again, or give another model.",
    )


def answer_in_kind(wrapped: Any) -> None:
    """Make adapted 8- and 4-bit layers answer in the number format of their input."""
    modules = sys.modules.get("bitsandbytes.nn")  # no such layers without it
    if modules is None:
        return
    from peft.tuners.shira.layer import ShiraLayer
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in wrapped.modules():
        base = module.get_base_layer() if isinstance(module, BaseTunerLayer) else None
        if isinstance(base, modules.Linear4bit | modules.Linear8bitLt):
            _watch(module, widened=isinstance(module, ShiraLayer) and isinstance(base, modules.Linear8bitLt))


def _watch(module: Any, *, widened: bool) -> None:
    kinds: list[Any] = []  # activation checkpointing enters a layer again only after it was left

    def enter(module: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        kinds.append(given[0].dtype)
        return (given[0].float(), *given[1:]) if widened else given

    def leave(module: Any, given: tuple[Any, ...], answer: Any) -> Any:
        return answer.to(kinds.pop())

    module.register_forward_pre_hook(enter)
    module.register_forward_hook(leave)
