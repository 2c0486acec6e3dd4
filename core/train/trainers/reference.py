"""The reference of TRL's trainers where there is an adapter: the same weights with it off, and no copy of it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def switched_off(model: Any) -> Iterator[None]:
    """While a trainer of TRL is made, let it believe that it has copied the adapter to `ref`, and copy nothing.

    It copies an adapter that it is given, since that may have been trained before. Here it is fresh and changes
    nothing, so that switched off is the same, for nothing; and some can't be copied (AdaLoRA's, PiSSA's halves).
    Without `ref`, TRL switches the adapter off. A model without an adapter is left as it is.
    """
    if not hasattr(model, "peft_config"):
        yield
        return
    named = dict(model.named_parameters())
    model.add_adapter = lambda *_, **__: None
    model.get_parameter = lambda name: named[name.replace(".ref.", ".default.")]
    try:
        yield
    finally:
        del model.add_adapter, model.get_parameter
