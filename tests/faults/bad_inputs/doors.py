"""The entries for bad inputs: the command line, the event reader, the loaders of rows and checkpoints."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bad_inputs import event_lines, rows
from bad_inputs.example import Answer, Bad
from rig import RECIPE

from finetop.core.commands.main import main
from finetop.core.data import sources
from finetop.core.errors import FinetopError
from finetop.core.models.resolved import ResolvedModel
from finetop.core.recipe.schema import Source
from finetop.core.runtime import failures
from finetop.core.runtime.home import Home
from finetop.core.store import ingest, runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from still import Still

    from finetop.core.features.chat.messages import ChatSettings
    from finetop.core.protocol.runs import RunDetail

GOOD_ROWS = {
    "conversation": rows.GOOD,
    "preference": '{"prompt": "Hi", "chosen": "Ho", "rejected": "He"}\n',
    "labelled": '{"prompt": "Hi", "completion": "Ho", "label": true}\n',
}
OF_THE_HOME = {"home/settings.yaml": ["clean"], "home/hosts.yaml": ["ls", "--on", "lab"]}


@dataclass(frozen=True)
class Door:
    """A working folder with a good recipe and its rows, and a home."""

    folder: Path
    home: Home

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "good.yaml").write_text(RECIPE.replace("fake", "good"))
        (self.folder / "rows.jsonl").write_text(rows.GOOD)

    def ask(self, words: Sequence[str], **variables: str) -> Answer:
        """Run a command line in this folder, on this home."""
        said = io.StringIO()
        with self._inside(variables), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = main(words, open_app=open_app)
        return Answer(code, self.shortened(said.getvalue()))

    @contextlib.contextmanager
    def _inside(self, variables: Mapping[str, str]) -> Iterator[None]:
        before, folder = dict(os.environ), Path.cwd()
        os.chdir(self.folder)
        os.environ.update({"FINETOP_HOME": str(self.home.root), **variables})
        try:
            yield
        finally:
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(before)

    def shortened(self, text: str) -> str:
        """Remove what differs from machine to machine."""
        for path, name in ((self.home.root, "HOME"), (self.folder, "FOLDER")):
            text = text.replace(str(path), name)
        return re.sub("h{10,}…?", "hhh…", text)  # where a long name is cut depends on the folder before it

    def yaml_file(self, bad: Bad) -> Answer:
        """Queue a run of a recipe; for the home's own files, a command that reads them."""
        name, text = bad.given
        file = self.home.root / name.removeprefix("home/") if name in OF_THE_HOME else self.folder / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        try:
            return self.ask(OF_THE_HOME.get(name, ["run", name]))
        finally:
            file.unlink()

    def row(self, bad: Bad) -> Answer:
        """Read a training job's rows, the bad one after a good one."""
        kind, line = bad.given
        file = self.folder / "rows.jsonl"
        line = line if isinstance(line, bytes) else line.encode()
        file.write_bytes(GOOD_ROWS[kind].encode() + line + b"\n")
        return self.last_word(lambda: sources.read(Source(path=str(file)), self.home, (kind,)))

    def checkpoint(self, bad: Bad, whole: Path, place: Path, base: Path) -> Answer:
        """Damage a copy of a complete checkpoint, and resume from it or load it."""
        how, damage = bad.given
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(whole, place)
        damage(place)
        if how == "resume":
            return self.ask(["resume", "good@20"])
        if how == "trainer":
            from finetop.core.train.resume import resume

            return self.last_word(lambda: resume.read_state(place / resume.STATE, whole=True))
        from torch import float32

        from finetop.core.models.load_checkpoint import load_checkpoint

        model = ResolvedModel(str(base), base, None, None, "local folder", "")
        return self.last_word(lambda: load_checkpoint(model, place, float32, "cpu"))

    def last_word(self, work: Callable[[], object]) -> Answer:
        """Do a job's work: its error is in the job's ended event."""
        try:
            work()
        except FinetopError as error:
            ended = failures.ended(error)
            return Answer(ended.exit_code, self.shortened(f"{ended.cause} {ended.hint}"))
        return Answer(0, "nothing was wrong with it")


def open_app(homes: Sequence[Home], run: str = "", chat: ChatSettings | None = None, /) -> int:
    from finetop.tui.main import open_app as opened

    return opened(homes, run, chat)


def take_in(made: Still, name: str, line: bytes) -> RunDetail:
    """Ingest a job's events, the line between two good ones; return the run as the store has it."""
    run_id = made.queue(name)
    found = made.rows(
        "SELECT j.id, r.folder, j.folder FROM jobs j JOIN runs r ON r.id = run_id WHERE run_id = ?", run_id
    )
    job_id, run_folder, job_folder = found[0]
    file = made.home.root / run_folder / job_folder / "events.jsonl"
    file.parent.mkdir(parents=True)
    good = event_lines.GOOD
    file.write_bytes((good % (1, 1)).encode() + line + b"\n" + (good % (3, 2)).encode())
    while ingest.take_in(made.supervisor.connection, job_id, file):
        pass
    return runs.detail(made.supervisor.connection, run_id)


def whole_checkpoint(folder: Path, base: Path) -> None:
    """Write a checkpoint of step 20 as a training job does: an adapter, the trainer's state, a manifest."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from finetop.core.models import checkpoint
    from finetop.core.train.resume import state_files

    model = AutoModelForCausalLM.from_pretrained(base)
    get_peft_model(model, LoraConfig(r=1, target_modules=["q_proj"])).save_pretrained(folder)
    (folder / "README.md").unlink()
    state = folder / checkpoint.STATE
    state.mkdir()
    tree = {"format": 1, "weights": None, "callbacks": {}, "optimizer": {"state": {}, "param_groups": []},
            "scheduler": {}, "random": {"torch": torch.zeros(2)}, "scaler": None, "counts": {}}  # fmt: skip
    state_files.save(tree, state)
    checkpoint.write_manifest(folder, {"format": 1, "step": 20})
