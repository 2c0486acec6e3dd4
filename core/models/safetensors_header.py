"""Headers of safetensors files: names, types and shapes of the tensors, without reading them.

A file is 8 bytes of length, that much JSON, then the tensors' bytes without gaps; so a truncated file is detected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from finetop.core.data import weight_files
from finetop.core.errors import BadInput
from finetop.core.runtime.files import open_given
from finetop.core.text import plain

LONGEST_HEADER = 100 << 20  # bytes; the format's own limit
# Of a model; one of 61 layers with 384 experts, whose matrices each have scales, has 140,000.
MOST_TENSORS = 500_000


@dataclass(frozen=True)
class Shape:
    """A tensor as its file describes it."""

    dtype: str  # F32, BF16, U8 …
    size: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of elements."""
        product = 1
        for length in self.size:
            product *= length
        return product


class _Entry(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def read_header(file: Path) -> dict[str, Shape]:
    """Read the names and shapes of a file's tensors. Raises BadInput for a broken or truncated one."""
    try:
        size = file.stat().st_size
        with open_given(file) as opened:
            length = int.from_bytes(opened.read(8), "little")
            if not 2 <= length <= min(LONGEST_HEADER, size - 8):
                raise BadInput(f"{plain(str(file))} is not a safetensors file.", hint="Copy it again.")
            raw = msgspec.json.decode(opened.read(length), type=dict[str, msgspec.Raw])
        raw.pop("__metadata__", None)
        entries = {name: msgspec.json.decode(entry, type=_Entry) for name, entry in raw.items()}
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        hint = "Copy it again."
        raise BadInput(f"{plain(str(file))} can't be read: {str(error)[:200]}.", hint=hint) from error
    wanted = 8 + length + max((entry.data_offsets[1] for entry in entries.values()), default=0)
    if wanted != size:
        message = f"{plain(str(file))} has {size:,} bytes, but its header says {wanted:,}: it was cut short."
        raise BadInput(message, hint="Copy it again.")
    return {name: Shape(entry.dtype, tuple(entry.shape)) for name, entry in entries.items()}


def require_few(files: Sequence[Path]) -> None:
    """Check by counting that a model's files have no more tensors than a real model's. Raises BadInput."""
    count = 0
    for file in files:
        try:
            with open_given(file) as opened:
                length = min(int.from_bytes(opened.read(8), "little"), LONGEST_HEADER)
                count += opened.read(length).count(b'"data_offsets"')
        except OSError as error:
            raise BadInput(f"{plain(str(file))} can't be read: {error.strerror}.") from error
        if count > MOST_TENSORS:
            message = f"{plain(str(file.parent))}: its files hold more than {MOST_TENSORS:,} tensors."
            raise BadInput(message, hint="Give another model.")


def tensors(folder: Path) -> dict[str, Shape]:
    """Read the names and shapes of a full model's tensors, over all its files. Raises BadInput."""
    files = weight_files.weight_files(folder)
    require_few(files)
    return {name: shape for file in files for name, shape in read_header(file).items()}
