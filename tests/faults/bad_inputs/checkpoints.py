"""10 damaged checkpoints: what is done to a whole one, what opens it, and the message."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bad_inputs.example import Bad

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WEIGHTS, MANIFEST, STATE = "adapter_model.safetensors", "manifest.json", "state/state.json"


def resume(what: str, damage: Callable[[Path], object], *says: str) -> Bad:
    """A run is resumed from it."""
    return Bad(what, ("resume", damage), ("good@20 is incomplete", *says, "good@10"))


def trainer(what: str, damage: Callable[[Path], object], *says: str) -> Bad:
    """It looks complete, and the training job restores its state."""
    return Bad(what, ("trainer", damage), (*says, "finetop resume RUN@STEP"), code=4)


def manifest(**changed: object) -> Callable[[Path], object]:
    """Write the manifest with other entries."""

    def damage(folder: Path) -> None:
        record = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(json.dumps({**record, **changed}))

    return damage


def replaced(name: str, old: bytes, new: bytes) -> Callable[[Path], object]:
    """Change bytes of a file, keeping its size."""

    def damage(folder: Path) -> None:
        held = (folder / name).read_bytes()
        assert old in held and len(old) == len(new)
        (folder / name).write_bytes(held.replace(old, new))

    return damage


EXAMPLES = [
    resume("weights cut off by one byte", lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-1]),
           WEIGHTS, "bytes"),
    resume("no weights", lambda f: (f / WEIGHTS).unlink(), WEIGHTS, "missing"),
    resume("half a manifest", lambda f: (f / MANIFEST).write_text((f / MANIFEST).read_text()[:40]),
           MANIFEST, "damaged"),
    resume("a manifest nested 100,000 deep", lambda f: (f / MANIFEST).write_text('{"files": ' + "[" * 100_000),
           MANIFEST, "damaged"),
    resume("a manifest that names no file", manifest(files={}), MANIFEST, "no file"),
    resume("a manifest whose file is elsewhere", manifest(files={"../../run.json": 9}), "../../run.json", "elsewhere"),
    resume("a manifest of another step", manifest(step=10), MANIFEST, "to step 10"),
    trainer("a flipped bit in the trainer's state", replaced(STATE, b'{"mapping"', b'{"napping"'), "state", "napping"),
    trainer("a trainer's state without the optimizer", replaced(STATE, b'"optimizer"', b'"optimizes"'),
            "state is damaged", "no optimizer"),
    Bad("weights that are none", ("model", replaced(WEIGHTS, b'"F32"', b'"F99"')),
        ("step-000020", "its weights are damaged", "Pick another checkpoint: RUN@STEP")),
]  # fmt: skip
