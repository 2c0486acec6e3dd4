"""Exports the adapter alone: a folder that PEFT loads with the base model, verified to agree with the checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from finetop.core.errors import BadInput
from finetop.core.features.export import export as whole
from finetop.core.features.export.agreement import Agreement, compare, scores
from finetop.core.features.export.export import ExportRequest
from finetop.core.features.export.wording import DETAIL
from finetop.core.models import checkpoint, load, merge as merging, resolve, save
from finetop.core.models.devices import free_memory, scoring_dtype
from finetop.core.models.resolved import ResolvedModel
from finetop.core.models.safetensors_header import read_header
from finetop.core.protocol.events import Phase
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home

CARD = """---
base_model: {base}
library_name: peft
---

# {name}

An adapter for `{base}`{at}, trained with {method} and {objective}. Load it beside that model:

```python
from peft import PeftModel
from transformers import {auto}, AutoTokenizer

base = {auto}.from_pretrained({load})
model = PeftModel.from_pretrained(base, "this/folder")
tokenizer = AutoTokenizer.from_pretrained("this/folder")
```
"""
WEIGHTS = "adapter_model.safetensors"
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM's --max-lora-rank takes; 16 is its default
MATRICES = (".lora_A.weight", ".lora_B.weight")
FORMATS = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
IN_FEWER_BITS = """
It was trained beside that model in {quantize}: to reproduce exactly what it learned, load the base the same
way (bitsandbytes).
"""


def export_adapter(request: ExportRequest, text: str | None, home: Home, events: EventLog) -> list[Agreement]:
    """Write a checkpoint's adapter, load it from there as a user would, and compare. Return the comparisons.

    Raises FinetopError if something does not agree (the files stay, under another name), Refused for an existing
    folder, BadInput for a checkpoint that is a whole model or can't be read.
    """
    save.require_absent(request.to)
    if not load.is_adapter(request.checkpoint):
        raise BadInput(f"{request.name}: this checkpoint is a whole model.", hint="Leave --adapter out.")
    events.write(Phase("finding the model"))
    base = resolve.resolve_model(request.recipe.model, home, events)
    work = scoring_dtype(request.recipe.model.dtype, base.path, request.device)
    kind = load.torch_dtype(work, request.device)
    events.write(Phase("loading the model"))
    tuned, tokenizer = merging.load_tuned(base, request.checkpoint, kind, request.device)
    texts = whole.general_windows(text, tokenizer, tuned)
    trained_scores = scores(tuned, texts)
    del tuned
    free_memory(request.device)
    with save.beside(request.to) as aside:
        events.write(Phase("writing"))
        left_out = shutil.ignore_patterns(checkpoint.MANIFEST, checkpoint.STATE)
        shutil.copytree(request.checkpoint, aside, ignore=left_out, dirs_exist_ok=True)
        (aside / "README.md").write_text(card(request, base), encoding="utf-8")
        events.write(Phase("loading it again"))
        reloaded, _ = merging.load_tuned(base, aside, kind, request.device)
        agreements = [compare("reloaded vs. trained", trained_scores, scores(reloaded, texts), work)]
        del reloaded
        vllm = vllm_line(request, base)
        whole.publish(request, base, format_of(aside), agreements, aside)
    print(f"{DETAIL}{vllm}", flush=True)
    return agreements


def vllm_line(request: ExportRequest, base: ResolvedModel) -> str:
    """Return how vLLM serves the adapter, or why it can't."""
    config = load.adapter_config(request.checkpoint)
    names = read_header(request.checkpoint / WEIGHTS)
    if why := vllm_obstacle(config, names):
        return f"vLLM can't load it: {why}; export it whole for vLLM"
    name = f"{request.run_name}-{request.step}"
    return f"for vLLM: {vllm_command(config, base.hub_id or str(base.path), name, str(request.to))}"


def vllm_obstacle(config: Mapping[str, Any], tensors: Iterable[str]) -> str:
    """Return why vLLM can't load an adapter, from its adapter_config.json and the names of its tensors; or ''."""
    kind = str(config.get("peft_type"))
    if kind != "LORA":
        return f"it is of the kind {kind}, not LoRA"
    if config.get("use_dora"):
        return "it has DoRA's magnitudes"
    if saved := config.get("modules_to_save"):
        return f"{', '.join(map(str, saved))} is trained as a whole"
    if config.get("bias", "none") != "none":
        return "its biases are trained"
    for name in ("rank_pattern", "alpha_pattern"):
        if config.get(name):
            return f"layers differ in rank or alpha ({name}), which vLLM ignores"
    if config.get("target_parameters"):
        return "experts are trained (target_parameters)"
    if rank_of(config) is None:
        return f"rank {config.get('r')} is above {RANKS[-1]}"
    other = next((name for name in tensors if not name.endswith(MATRICES)), None)
    return "" if other is None else f"it has {other}"


def rank_of(config: Mapping[str, Any]) -> int | None:
    """Return the least --max-lora-rank with which an adapter loads."""
    return next((rank for rank in RANKS if rank >= int(config.get("r") or 0)), None)


def vllm_command(config: Mapping[str, Any], base: str, name: str, folder: str) -> str:
    """Return how to serve an adapter."""
    return f"vllm serve {base} --enable-lora --max-lora-rank {rank_of(config)} --lora-modules {name}={folder}"


def format_of(folder: Path) -> str:
    """Return the number format of an adapter's weights, from their file."""
    held = {shape.dtype for shape in read_header(folder / WEIGHTS).values()}
    return " and ".join(sorted(FORMATS.get(name, name) for name in held))


def card(request: ExportRequest, base: ResolvedModel) -> str:
    """Return the README that says what the adapter is and how to load it."""
    name = base.hub_id or str(base.path)
    revision = f', revision="{base.revision}"' if base.hub_id and base.revision else ""
    is_reward = load.is_reward_model(request.checkpoint)
    auto = "AutoModelForSequenceClassification" if is_reward else "AutoModelForCausalLM"
    text = CARD.format(
        base=name,
        name=f"{request.run_name}@{request.step}",
        method=request.recipe.method.name,
        objective=request.recipe.objective.name,
        at=f" (revision {base.revision})" if revision else "",
        auto=auto,
        load=f'"{name}"{revision}{", num_labels=1" if is_reward else ""}',
    )
    text += f"\n{request.warning}\n" if request.warning else ""
    return text + ("" if base.quantize == "none" else IN_FEWER_BITS.format(quantize=base.quantize))
