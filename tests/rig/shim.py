"""Processes whose wall clock is set, or whose file system is slow, stale or without locks, while they run.

A small library (tests/rig/shim.c) is compiled and preloaded; it reads its instructions from a shared file.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
LAYOUT = struct.Struct("<diiii1000s")


def missing() -> str:
    """Return what is missing of these requirements; empty if nothing is."""
    return "" if shutil.which("cc") else "needs a C compiler (cc)"


@dataclass
class Shim:
    """The conditions for processes started with `environment`."""

    environment: dict[str, str]
    _shared: mmap.mmap

    def set(
        self, *, shift_s: float = 0.0, folder: Path | None = None, delay_ms: int = 0, error: int = 0,
        lock_error: int = 0,
    ) -> None:  # fmt: skip
        """Change all conditions at once, for all of them."""
        name = b"" if folder is None else str(folder).encode()
        LAYOUT.pack_into(self._shared, 0, shift_s, delay_ms, error, lock_error, self.calls, name)

    @property
    def calls(self) -> int:
        """Return how often they accessed something below the folder."""
        return int(LAYOUT.unpack_from(self._shared)[4])


def shim(folder: Path) -> Shim:
    """Compile the library into a folder, and return what processes must be started with."""
    library, control = folder / "shim.so", folder / "shim.bin"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O1", "-w", "-o", str(library), str(SOURCE), "-ldl"], check=True
    )
    control.write_bytes(bytes(LAYOUT.size))
    with control.open("r+b") as file:
        shared = mmap.mmap(file.fileno(), LAYOUT.size)
    return Shim({"LD_PRELOAD": str(library), "FINETOP_TEST_SHIM": str(control)}, shared)
