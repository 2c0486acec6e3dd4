"""What `import finetop` gives a training script: `log` and `FinetopCallback`, loaded when they are first used.

This folder is installed as the top of the package: importing what is below it loads nothing of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetop.core.external.client import log as log

    FinetopCallback: Any

__all__ = ["FinetopCallback", "log"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from finetop.core.external import client

    value = client.log if name == "log" else client.callback()
    globals()[name] = value
    return value
