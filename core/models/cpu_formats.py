"""Which number format a CPU trains in: measured once per boot, saved in the home, read by plans without torch.

Instructions for bfloat16 are no proof: of two CPUs with avx512_bf16 one multiplied 177 GFLOP/s in it and 343 in
float32, the other (with amx_bf16) 767 and 232. float32 holds the same weights exactly and takes twice their memory.
"""

from __future__ import annotations

import math
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from finetop.core.errors import BadInput, FinetopError
from finetop.core.models import config_file, devices, safetensors_header
from finetop.core.recipe import number_format
from finetop.core.runtime import cgroups
from finetop.core.runtime.files import read_given, write_whole
from finetop.core.runtime.home import Home
from finetop.core.runtime.processes import boot_id

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe

# A layer of a small model on the tokens of a batch: its forward product and the two of its gradients are timed.
TOKENS, WIDTH, INNER = 512, 576, 1536
MEASURE_S, FEWEST, MOST = 0.05, 3, 30  # seconds in total, and repeats; the best of each format counts
WORTH = 1.1  # times float32's speed: casts of an adapter's weights in each step cost the rest
ROOM = 0.5  # share of this machine's memory: if float32 weights need more, the run stays in bfloat16

CPU_FACTS = ("model name", "model\t", "stepping", "CPU part", "CPU implementer")  # in /proc/cpuinfo
Positive = Annotated[float, msgspec.Meta(gt=0)]


class Speeds(msgspec.Struct, frozen=True):
    """Speed of matrix products, in GFLOP per CPU second: other jobs on a busy machine change it little."""

    float32: Positive
    bfloat16: Positive

    @property
    def words(self) -> str:
        return f"bfloat16 {self.bfloat16:.0f} GFLOP per CPU second, float32 {self.float32:.0f}"


class Kept(msgspec.Struct, frozen=True):
    """A measurement and what it was made on: it is void after a reboot or with another CPU or torch."""

    boot: str
    cpu: str
    torch: str
    threads: int
    speeds: Speeds


def train_in(
    wanted: str, speeds: Speeds | None, parameters: float, total: float, *, only_16_bit: bool
) -> tuple[str, str]:
    """Return the number format that a CPU with bfloat16 instructions trains in, and why.

    `parameters` counts those kept unquantized (0: quantized base), `total` is the machine's memory in bytes;
    `only_16_bit`: the recipe has settings that apply only to 16-bit weights. Without a measurement it is `wanted`.
    """
    if wanted != "bfloat16" or speeds is None:
        return wanted, ""
    if speeds.bfloat16 >= WORTH * speeds.float32:
        return "bfloat16", f"measured: {speeds.words}: bfloat16 is used"
    if only_16_bit:
        return "bfloat16", f"measured: {speeds.words}; bfloat16 is used, as train.master asks for"
    if 4 * parameters > ROOM * total:
        sizes = f"{4 * parameters / 2**30:.1f} of {total / 2**30:.1f} GiB"
        words = f"measured: {speeds.words}; bfloat16 is used, as float32 weights would take {sizes}"
        return "bfloat16", words
    return "float32", f"measured: {speeds.words}: float32 is used in place of bfloat16"


def choose(recipe: Recipe, folder: Path, device: str, home: Home, before: str = "") -> tuple[str, str]:
    """Return the format to train in, and why if there was a choice; a resumed run keeps `before`. Raises BadInput."""
    wanted = devices.number_format(recipe.model.dtype, folder, device)
    if before == "bfloat16" and not (device == "cpu" or devices.has_bfloat16(device)):
        message = f"this run began in bfloat16, and {devices.device_kind(device)} can't compute in it."
        hint = "Resume it on a GPU with bfloat16, or start a run from its checkpoint: model.id=run:NAME@STEP."
        raise BadInput(message, hint=hint)
    if before:
        return before, "" if before == wanted else f"{before} is used, in which this run began"
    if device != "cpu":
        return wanted, "; ".join(_of_float16(recipe, folder, device)) if wanted == "float16" else ""
    if wanted != "bfloat16":
        lacks = recipe.model.dtype in ("auto", "bfloat16")
        reason = "this CPU has no arithmetic for bfloat16: float32 is used, which is faster here"
        return wanted, reason if lacks else ""
    count = 0.0 if recipe.model.quantize != "none" else _parameters(folder)
    return train_in(
        wanted, measured(home), count, float(cgroups.total_memory()), only_16_bit=only_16_bit(recipe)
    )


def _of_float16(recipe: Recipe, folder: Path, device: str) -> list[str]:
    """Return the notes on training in float16 on a GPU, worded as in a plan."""
    config = config_file.read(folder / "config.json")
    family, card = str(config.get("model_type") or ""), devices.device_kind(device)
    has_bfloat16 = devices.has_bfloat16(device)
    saved = devices.saved_in(folder)
    return number_format.float16_warnings(recipe, saved, family, card, has_bfloat16=has_bfloat16)


def only_16_bit(recipe: Recipe) -> bool:
    """Return whether a recipe sets the rounding of 16-bit weights, which does not apply to float32."""
    return recipe.train.master in ("stochastic", "nearest")


def _parameters(folder: Path) -> float:
    return float(sum(shape.count for shape in safetensors_header.tensors(folder).values()))


def kept(home: Home) -> Speeds | None:
    """Return the measurement of this CPU since its boot; None without a readable one."""
    saved = _read(home)
    return None if saved is None else saved.speeds


def measured(home: Home) -> Speeds:
    """Return the saved measurement for this number of threads, or measure now (50 ms; on a slow CPU half a second)."""
    import torch

    threads = torch.get_num_threads()
    saved = _read(home)
    if saved is not None and saved.threads == threads:
        return saved.speeds
    speeds = measure()
    if home.models.is_dir():  # else the home does not exist yet
        try:
            write_whole(_file(home), msgspec.json.encode(Kept(*_here(), threads, speeds)))
        except OSError:
            pass  # a full disk: the next process measures again
    return speeds


def measure() -> Speeds:
    """Time products in both formats alternately, so that other load slows both equally."""
    import torch

    best = {"float32": math.inf, "bfloat16": math.inf}
    layers = {name: _layer(getattr(torch, name)) for name in best}
    until, repeats = time.monotonic() + MEASURE_S, 0
    with torch.no_grad():
        while repeats < FEWEST or (time.monotonic() < until and repeats < MOST):
            repeats += 1
            for name, layer in layers.items():
                best[name] = min(best[name], _products(*layer))
    work = 3 * 2 * TOKENS * WIDTH * INNER / 1e9
    return Speeds(**{name: work / max(seconds, 1e-9) for name, seconds in best.items()})


def _layer(dtype: Any) -> tuple[Any, Any, Any]:
    """Return a layer's input, its weight as a linear layer stores it, and the gradient of its output."""
    import torch

    shapes = ((TOKENS, WIDTH), (INNER, WIDTH), (TOKENS, INNER))
    return tuple(torch.full(shape, 0.5, dtype=dtype) for shape in shapes)


def _products(given: Any, weight: Any, slope: Any) -> float:
    import torch

    before = time.process_time()
    torch.nn.functional.linear(given, weight)
    torch.mm(slope, weight)
    torch.mm(slope.t(), given)
    return time.process_time() - before


def _file(home: Home) -> Path:
    return home.models / ".cpu.json"


def _read(home: Home) -> Kept | None:
    try:
        saved = msgspec.json.decode(read_given(_file(home)), type=Kept)
    except (OSError, FinetopError, msgspec.DecodeError):
        return None
    return saved if (saved.boot, saved.cpu, saved.torch) == _here() and saved.boot else None


def _here() -> tuple[str, str, str]:
    """Return the ids of this boot, CPU and torch."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    named = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith(CPU_FACTS)]
    try:
        return boot_id(), " ".join(dict.fromkeys(named)), version("torch")
    except PackageNotFoundError:
        return boot_id(), "", ""
