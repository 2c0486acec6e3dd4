"""State-space layers (Mamba) without their kernels: transformers scans a text token by token, which is reported."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from finetop.core.protocol.events import Alarm

if TYPE_CHECKING:
    from finetop.core.runtime.event_log import EventLog

# Four texts through four layers 192 wide: 1.4 CPU s forward and backward at 64 tokens, 6.0 at 128. At 1,024 that is six
# minutes: the gradient of each of a text's tokens is added to a tensor of all of them.
TEXT = (
    "mamba_ssm is not installed: this model's state-space layers are computed token by token, and a step's time grows "
    "with the square of the texts' length, to minutes (lower data.max_tokens; on a GPU, install mamba_ssm and "
    "causal_conv1d)"
)


def report(model: Any, events: EventLog) -> None:
    """Raise an alarm before step 1 if a model has such layers; transformers' own warning is not shown to the user."""
    scans = any(name.endswith(".A_log") for name, _ in model.named_parameters())
    if scans and find_spec("mamba_ssm") is None:
        events.write(Alarm("compiler", 0, TEXT))
        print(f"alarm: {TEXT}", flush=True)
