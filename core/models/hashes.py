"""The hash of an adapter's files."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from finetop.core.errors import BadInput

if TYPE_CHECKING:
    from pathlib import Path


ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def adapter_hash(folder: Path) -> str:
    """Hash (sha256) an adapter's weights and its settings, scale included."""
    whole = hashlib.sha256()
    for name in ADAPTER_FILES:
        try:
            whole.update((folder / name).read_bytes())
        except OSError as error:
            raise BadInput(
                f"{folder}: can't read {name}: {error.strerror}.", hint="Pick another checkpoint."
            ) from error
    return whole.hexdigest()
