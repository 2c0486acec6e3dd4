"""A host that is really reached by ssh: a private sshd behind a link with delay, loss and rate, and a home on it.

Needs root, an sshd, and the folder with tui_rig.py (network namespaces, link, sshd): FINETOP_TEST_RIG names it, else it
is searched as `rig` beside the data (FINETOP_TEST_DATA).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rig import Rig

from finetop.core.runtime.home import Home

FOLDER = Path(
    os.environ.get("FINETOP_TEST_RIG") or Path(os.environ.get("FINETOP_TEST_DATA", "/nowhere")).parent / "rig"
)
ROOT = Path(__file__).parents[2]
HOST = "far-box"


def missing() -> str:
    """Return what is missing of these requirements; empty if nothing is."""
    if not (FOLDER / "tui_rig.py").exists():
        return "FINETOP_TEST_RIG names no folder with tui_rig.py, nor is one beside the data"
    if os.geteuid():
        return "needs root: network namespaces"
    if not shutil.which("sshd", path="/usr/sbin:/usr/bin") or not Path("/dev/net/tun").exists():
        return "needs sshd and /dev/net/tun"
    return ""


def load_rig() -> Any:
    """Import tui_rig.py from its folder."""
    spec = importlib.util.spec_from_file_location("tui_rig", FOLDER / "tui_rig.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tui_rig"] = module
    spec.loader.exec_module(module)
    return module


@dataclass
class Far:
    """The far host: its supervisor (queried directly), the link, the sshd, and the settings to reach them from here."""

    rig: Rig
    link: Any
    server: Any
    environment: dict[str, str]
    folder: Path

    @property
    def options(self) -> list[str]:
        """Return the command-line options that reach it."""
        return ["--on", HOST]

    def wire(self) -> int:
        """Return the bytes that crossed the link so far, both ways, with TCP and IP."""
        return int(sum(self.link.bytes.values()))


@contextmanager
def far_host(
    folder: Path, *, delay_ms: float = 75.0, loss: float = 0.01, rate_kbit: float = 0.0
) -> Iterator[Far]:
    """Set everything up, and tear it down again. `delay_ms` is one way."""
    tools = load_rig()
    with (
        tools.Link(delay_ms=delay_ms, loss=loss, rate_kbit=rate_kbit) as link,
        tools.SshServer(link) as server,
    ):
        rig = Rig(Home(folder / "far-home"))
        programs = folder / "bin"
        programs.mkdir()
        there = programs / "finetop-there"
        there.write_text(
            f'#!/bin/sh\ncd /\nexport PYTHONPATH="{os.environ.get("PYTHONPATH", "")}"\n'
            f'FINETOP_HOME="{rig.home.root}" exec "{sys.executable}" -m finetop.tui.main "$@"\n'
        )
        config = folder / "ssh_config"
        config.write_text(
            f"Host {HOST}\n  HostName {link.ip_s}\n  Port {server.port}\n  User {server.user}\n"
            f"  IdentityFile {server.dir}/id\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n"
        )
        ssh = programs / "ssh"
        ssh.write_text(f'#!/bin/sh\nexec ip netns exec {link.ns_c} /usr/bin/ssh -F "{config}" "$@"\n')
        for program in (there, ssh):
            program.chmod(0o755)
        home = folder / "near-home"
        home.mkdir()
        (home / "hosts.yaml").write_text(f"{HOST}: {{command: {there}}}\n")
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "FINETOP_HOME": str(home),
            "XDG_RUNTIME_DIR": "",
        }
        rig.up()
        try:
            yield Far(rig, link, server, environment, folder)
        finally:
            rig.stop_all()
