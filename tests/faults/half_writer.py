"""Writes checkpoints one after another until it is killed: `python half_writer.py RUN_FOLDER`.

Uses the product's own writer, on a model that saves four files in pieces; each finished step is noted in a side file.
The libraries are imported once: each line on standard input forks a process that writes, and its pid is printed.
"""

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from finetop.core.models import checkpoint
from finetop.core.models.resolved import ResolvedModel
from finetop.core.runtime.event_log import EventLog

# The writer checks if the model is PEFT's, which ours is not: this saves 15 s of importing torch.
sys.modules["peft"] = ModuleType("peft")
sys.modules["peft"].PeftModel = type("PeftModel", (), {})
BASE = ResolvedModel("base", Path("base"), None, None, "local folder", "ab" * 32)
PIECE = b"w" * 65_536


class Model:
    """Something with weights: four files of 256 KiB, flushed piece by piece."""

    def save_pretrained(self, folder: Path, **_: Any) -> None:
        for number in range(4):
            with (folder / f"model-{number}.safetensors").open("wb", buffering=0) as file:
                for _ in range(4):
                    file.write(PIECE)
        (folder / "config.json").write_text("{}")


class Tokenizer:
    def save_pretrained(self, folder: Path) -> None:
        (folder / "tokenizer.json").write_text("{}")


def state(folder: Path) -> None:
    (folder / checkpoint.STATE).mkdir()
    (folder / checkpoint.STATE / "tree.json").write_text("{}" * 1000)


def main() -> None:
    run_folder = Path(sys.argv[1])
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            write(run_folder)
        print(child, flush=True)
        os.waitpid(child, 0)
        print("ended", flush=True)


def write(run_folder: Path) -> None:
    log = EventLog(run_folder / "events.jsonl")
    checkpoint.clear_leftovers(run_folder)
    done = [checkpoint.step_of(one) for one in checkpoint.complete(run_folder)]
    with (run_folder / "side.txt").open("a", buffering=1) as side:
        for step in range(max(done, default=0) + 1, 1_000_000):
            checkpoint.write(Model(), Tokenizer(), BASE, run_folder, step, log, lambda: state)
            side.write(f"{step}\n")
            checkpoint.prune(run_folder, 3)


if __name__ == "__main__":
    main()
