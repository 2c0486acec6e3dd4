"""Which model a recipe means, where its files lie, and how they become a model and a tokenizer.

Training jobs and check jobs both come through here, so that they can't disagree on what the base model is.
Weights are read from safetensors alone: no pickle is ever opened.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.models import quantize as fewer_bits
from finetop.core.recipe.references import is_reference
from finetop.core.runtime.failures import is_out_of_memory

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from finetop.core.protocol.events import EventLog
    from finetop.core.recipe.schema import Model
    from finetop.core.runtime.home import Home

Quantize = Literal["none", "nf4", "int8"]


@dataclass(frozen=True)
class ResolvedModel:
    """A model that is here: a folder with its configuration, tokenizer and safetensors."""

    id: str  # as the recipe names it
    path: Path
    hub_id: str | None  # None for a folder of this machine, then without a revision too
    revision: str | None  # the hub's commit
    source: str  # in words: "hub, commit 12fd25f", "local folder" …
    weights_hash: str  # sha256 over the safetensors
    trust_remote_code: bool = False
    chat_template: str | None = None  # replaces the tokenizer's own
    quantize: Quantize = "none"  # how its linear layers are held


def resolve(model: Model, home: Home, events: EventLog) -> ResolvedModel:
    """Find the model that a recipe names, and download or convert it where that is needed.

    Raises BadInput if there is no such model or it can't be used, EnvironmentTrouble if the hub is out of
    reach.
    """
    from finetop.core.data import hub
    from finetop.core.models import demo_model, from_run

    if is_local(model.id):
        if model.revision is not None:
            raise BadInput(f"model.revision: {model.id} is a folder, it has no revisions.", hint="Remove it.")
        path, hub_id, revision, source = Path(model.id).expanduser(), None, None, "local folder"
    elif is_reference(model.id):
        if model.revision is not None:
            raise BadInput(f"model.revision: {model.id} is a run, it has no revisions.", hint="Remove it.")
        path, source = from_run.resolve(model.id, home, events)
        hub_id, revision = None, None
    elif model.id == demo_model.ALIAS:
        path, revision, source = demo_model.find(model.revision, home, events)
        hub_id = demo_model.HUB_ID if revision else None
    else:
        path, revision = hub.fetch(model.id, model.revision, model.trust_remote_code, events)
        hub_id, source = model.id, f"hub, commit {revision[:7]}"
    check_folder(path, model.id)
    return ResolvedModel(
        id=model.id,
        path=path,
        hub_id=hub_id,
        revision=revision,
        source=source,
        weights_hash=weights_hash(path, home),
        trust_remote_code=model.trust_remote_code,
        chat_template=read_template(model.chat_template),
        quantize=model.quantize,
    )


def is_local(model_id: str) -> bool:
    """Tell a folder from a name on the hub: it starts with /, ./, ../ or ~."""
    return model_id.startswith(("/", "./", "../", "~")) or model_id in (".", "..")


def check_folder(path: Path, model_id: str) -> None:
    """Refuse a folder that holds no usable model. Raises BadInput."""
    if not path.is_dir():
        raise BadInput(
            f"model.id: there is no folder {model_id}.",
            hint="Give a hub id such as org/name, or a model's folder.",
        )
    if not (path / "config.json").is_file():
        if (path / "adapter_config.json").is_file():
            hint = "Give the base model as model.id; an adapter is made by training."
            raise BadInput(f"model.id: {model_id} is an adapter, not a whole model.", hint=hint)
        raise BadInput(
            f"model.id: {model_id} holds no config.json.", hint="Give the folder of a saved model."
        )
    if not weight_files(path):
        raise BadInput(
            f"model.id: {model_id} has no .safetensors weights; pickled ones can run any code when opened.",
            hint="Convert it with save_pretrained of a recent transformers, and give the new folder.",
        )


def weight_files(path: Path) -> list[Path]:
    """List a folder's safetensors by name. Raises BadInput if its index names one that is missing."""
    index = path / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            path.joinpath(*names)  # they are texts
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadInput(f"{index} is damaged.", hint="Download the model again.") from error
        missing = [name for name in names if not (path / name).is_file()]
        if missing:
            raise BadInput(
                f"{path}: {missing[0]} is missing of {len(names)} files.", hint="Download it again."
            )
        return [path / name for name in names]
    return sorted(path.glob("*.safetensors"))


def weights_hash(path: Path, home: Home) -> str:
    """Compute the sha256 over a folder's safetensors; kept in the home by size and time of each file."""
    files = weight_files(path)
    facts = [[file.name, (state := file.stat()).st_size, state.st_mtime_ns] for file in files]
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:24]
    memory = home.models / ".hashes" / f"{place}.json"
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
        if known["files"] == facts:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not computed yet, or cut short: compute it
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            whole.update(file.name.encode() + b"\0" + hashlib.file_digest(opened, "sha256").digest())
    memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    memory.write_text(json.dumps({"files": facts, "sha256": whole.hexdigest()}), encoding="utf-8")
    return whole.hexdigest()


def read_template(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"model.chat_template: can't read {path}: {error}.") from error


def pick_device() -> str:
    """Choose what to compute on: the first CUDA GPU, else Apple's, else the CPU."""
    import torch

    if torch.cuda.is_available():
        return "cuda:0"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def describe_device(device: str) -> str:
    """Name a device for people: 'cuda:0 NVIDIA H100', 'cpu'."""
    import torch

    return f"{device} {torch.cuda.get_device_name(device)}" if device.startswith("cuda") else device


def number_format(wanted: str, folder: Path | None, device: str) -> str:
    """Choose the number format to compute in: the recipe's, or with `auto` what the model in `folder` was saved in.

    A CPU without 16-bit arithmetic gets float32: it holds the same weights exactly, and multiplies them 7.7 times
    faster (74 GFLOP/s a core in float32, 9.5 in bfloat16, on AVX2).
    """
    import torch

    if wanted == "auto" and folder is not None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        wanted = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    if device == "cpu" and wanted == "bfloat16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return "float32"
    return wanted


def torch_dtype(name: str, device: str) -> torch.dtype:
    """Turn the name of a number format into torch's. Raises BadInput if the GPU can't compute in it."""
    import torch

    if name == "bfloat16" and device.startswith("cuda") and not torch.cuda.is_bf16_supported(False):
        card = torch.cuda.get_device_name(device)
        hint = "Set model.dtype to float32 (or float16, which needs less memory and can overflow)."
        raise BadInput(f"model.dtype: {card} can't compute in bfloat16.", hint=hint)
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise BadInput(f"model.dtype: {name!r} is no number format.", hint="Set bfloat16 or float32.")
    return dtype


# For base models, which have no chat template. Saved with every checkpoint; the base is scored with it too.
PLAIN_TEMPLATE = (
    "{%- for message in messages %}"
    "{%- if message.role == 'assistant' %}{{ '### Answer\n' + message.content + (eos_token or '') + '\n' }}"
    "{%- elif message.role == 'system' %}{{ message.content + '\n\n' }}"
    "{%- else %}{{ '### Question\n' + message.content + '\n\n' }}"
    "{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '### Answer\n' }}{%- endif %}"
)


def load_tokenizer(resolved: ResolvedModel) -> PreTrainedTokenizerBase:
    """Load the tokenizer, with a padding token and a chat template: the recipe's, its own, or a plain one.

    Raises BadInput if there is none or it can't be read.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            resolved.path, trust_remote_code=resolved.trust_remote_code, local_files_only=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise _unusable(resolved, "tokenizer", error) from error
    if tokenizer.pad_token_id is None:
        # Padding is never learned from or attended to, so any token that exists will do.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token or tokenizer.convert_ids_to_tokens(0)
    if resolved.chat_template is not None:
        tokenizer.chat_template = resolved.chat_template
    elif tokenizer.chat_template is None:
        begins_text = tokenizer.bos_token and tokenizer("a").input_ids[0] == tokenizer.bos_token_id
        tokenizer.chat_template = ("{{ bos_token }}" if begins_text else "") + PLAIN_TEMPLATE
    return tokenizer


def has_plain_template(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Tell whether a tokenizer came without a chat template and got the plain one."""
    return str(tokenizer.chat_template).endswith(PLAIN_TEMPLATE)


def load(
    resolved: ResolvedModel, dtype: torch.dtype, device: str
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the model onto the device, its linear layers quantised where `resolved` says so, and its tokenizer.

    Raises BadInput if it is no causal language model, needs code of its own, or lacks weights, and
    EnvironmentTrouble if it can't be quantised here.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    require_text(resolved.path, f"model.id: {resolved.id}")
    tokenizer = load_tokenizer(resolved)
    placed = fewer_bits.quantized(resolved, dtype, device)
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            resolved.path,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=resolved.trust_remote_code,
            local_files_only=True,
            output_loading_info=True,
            **placed,
        )
    except (ImportError, RuntimeError) as error:
        if resolved.quantize == "none" or is_out_of_memory(error):
            raise
        raise EnvironmentTrouble(
            f"model.quantize: {resolved.quantize} can't be had here: {str(error).strip().splitlines()[0][:300]}",
            hint="Set model.quantize to none (--quantize none), or mend bitsandbytes.",
        ) from error
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise _unusable(resolved, "model", error) from error
    missing = sorted(found["missing_keys"])
    if missing:
        # transformers fills them with random numbers and goes on: every score would be of a broken model.
        raise BadInput(
            f"model.id: {resolved.id} has no weights for {missing[0]} ({len(missing)} missing).",
            hint="Its files do not fit its config.json. Download it again, or give another model.",
        )
    fewer_bits.pass_gradients(model)
    fewer_bits.leave_file(model)
    return (model if placed else model.to(device)), tokenizer


def is_reward_model(folder: Path) -> bool:
    """Say if a saved model, or adapter, gives a number for a text and writes none."""
    for name in ("adapter_config.json", "config.json"):
        try:
            said = json.loads((folder / name).read_text(encoding="utf-8"))
            kinds = said.get("architectures") or ()
        except (OSError, ValueError, AttributeError):
            continue  # not there; or broken, which loading it tells
        return said.get("task_type") == "SEQ_CLS" or any(
            str(kind).endswith("ForSequenceClassification") for kind in kinds
        )
    return False


def require_text(folder: Path, name: str) -> None:
    """See that a saved model writes text. Raises BadInput."""
    if is_reward_model(folder):
        hint = "Pick one that does; objective.reward.model of ppo, rloo or grpo takes this one."
        raise BadInput(f"{name} is a reward model, which writes no text.", hint=hint)


def _unusable(resolved: ResolvedModel, part: str, error: Exception) -> BadInput | EnvironmentTrouble:
    text = str(error)
    if "trust_remote_code" in text:
        hint = "Read that code, then set model.trust_remote_code: true; or pick another model."
        return BadInput(f"model.id: {resolved.id} wants to run Python code that comes with it.", hint=hint)
    if "Unrecognized configuration class" in text:
        return BadInput(
            f"model.id: {resolved.id} is not a causal language model.", hint="Pick one that writes text."
        )
    lines = text.strip().splitlines() or [type(error).__name__]
    return BadInput(
        f"model.id: can't load the {part} of {resolved.id}: {lines[0][:300]}",
        hint="Its files may be damaged: download it again, or give another model.",
    )
