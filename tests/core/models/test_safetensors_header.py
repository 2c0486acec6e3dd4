"""Headers are read as the library writes them, and a truncated file is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetop.core.errors import BadInput
from finetop.core.models.safetensors_header import Shape, read_header, tensors


def test_all_tensors_with_their_shapes(full: Path) -> None:
    from safetensors import safe_open

    with safe_open(full / "model.safetensors", "np") as opened:
        known = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    found = tensors(full)
    assert {name: shape.size for name, shape in found.items()} == known
    assert Shape("F32", (3, 4)).count == 12


@pytest.mark.parametrize(("spoil", "says"), [
    (lambda whole: whole[:-100], "it was cut short"),
    (lambda whole: whole + b"\0", "its header says"),
    (lambda whole: whole[:5], "is not a safetensors file"),
    (lambda whole: b"\xff" * len(whole), "is not a safetensors file"),
    (lambda whole: whole[:8] + b"}" + whole[9:], "can't be read"),
    (lambda whole: b"", "is not a safetensors file"),
])  # fmt: skip
def test_a_broken_file_is_refused(full: Path, spoil: object, says: str) -> None:
    assert callable(spoil)
    file = full / "model.safetensors"
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(BadInput, match=says):
        read_header(file)
