"""TRL's losses in plain torch, on a GPU for which this machine can't build Triton's kernels.

TRL 1.16 uses Triton wherever the package is installed. Its torch code gives the same numbers and uses the same memory;
unlabelled positions are skipped here too, as with Triton.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from finetop.core.protocol.events import Alarm
from finetop.core.runtime import compiler

if TYPE_CHECKING:
    from finetop.core.runtime.event_log import EventLog


def take_if_needed(device: str, events: EventLog) -> None:
    """Make TRL's trainers in this process work without Triton if it can't build kernels, and raise an alarm."""
    lacks = compiler.triton_lacks() if device.startswith("cuda") else ""
    has_trl = all(find_spec(name) is not None for name in ("trl", "datasets"))  # ppo trains without them
    if not lacks or not has_trl:
        return
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    # TRL checks only this to decide whether to skip positions without a label.
    utils._use_triton = lambda device: True  # noqa: SLF001  # TRL reads it
    chunked_logprob._TRITON_AVAILABLE = False  # noqa: SLF001  # TRL reads it
    utils.is_triton_available = lambda: False
    text = compiler.without_triton(lacks)
    events.write(Alarm("compiler", 0, text))
    print(f"alarm: {text}", flush=True)
