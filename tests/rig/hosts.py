"""Other machines for tests: each a home with the real supervisor, reached through tests/rig/fake_ssh.py."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rig import Rig

from finetop.core.errors import FinetopError
from finetop.core.protocol.messages.session import Shutdown
from finetop.core.runtime import processes
from finetop.core.runtime.home import Home

TESTS = Path(__file__).parent


@dataclass
class Hosts:
    """The fake network: which hosts exist, how they behave, which ssh processes were started."""

    folder: Path
    rigs: dict[str, Rig] = field(default_factory=dict)

    def install(self) -> dict[str, str]:
        """Write `ssh` and `finetop` as programs. Returns the environment that finds them first."""
        programs = self.folder / "bin"
        programs.mkdir(parents=True)
        for name, command in (("ssh", f"{TESTS / 'fake_ssh.py'}"), ("finetop", "-m finetop.tui.main")):
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
            program.chmod(0o755)
        self._write_homes()
        return {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "FAKE_SSH": str(self.folder),
            "FINETOP_HOME": str(self.folder / "here"),
            "XDG_RUNTIME_DIR": "",
        }

    def add(self, destination: str, *, start: bool = True) -> Rig:
        """Add a host with its own home, and with a supervisor on fake jobs."""
        rig = self.rigs[destination] = Rig(Home(self.folder / f"home-{len(self.rigs)}"))
        self._write_homes()
        if start:
            rig.up()
        return rig

    def host(self, destination: str) -> Rig:
        """Return a host with a supervisor, made on first use."""
        return self.rigs.get(destination) or self.add(destination)

    def forget(self) -> None:
        for file in (*self.folder.glob("mode.*"), self.folder / "calls"):
            file.unlink(missing_ok=True)

    def behave(self, destination: str, mode: str) -> None:
        (self.folder / f"mode.{destination}").write_text(mode)

    def calls(self) -> list[dict[str, Any]]:
        """Return every start of ssh so far: its pid, its start time by the kernel's clock, and its arguments."""
        file = self.folder / "calls"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def living(self) -> list[int]:
        """Return the ssh processes that still run."""
        return [call["pid"] for call in self.calls() if is_living(call)]

    def drop(self, destination: str) -> None:
        """Cut the link: ssh dies as after a broken connection."""
        for call in self.calls():
            if destination in call["words"] and is_living(call):
                os.kill(call["pid"], 9)

    def close(self) -> None:
        for pid in self.living():
            os.kill(pid, 9)
        for rig in self.rigs.values():
            rig.stop_all()
            with suppress(FinetopError):  # a supervisor that was started through the link
                rig.ask(Shutdown())

    def _write_homes(self) -> None:
        homes = {destination: str(rig.home.root) for destination, rig in self.rigs.items()}
        (self.folder / "hosts.json").write_text(json.dumps(homes))


def is_living(call: dict[str, Any]) -> bool:
    """Return whether an ssh still runs: on a busy machine its pid may be reused within minutes."""
    return processes.alive(call["pid"]) and processes.start_time(call["pid"]) == call["start"]
