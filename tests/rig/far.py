"""A host that is really reached by ssh: a private sshd behind a link with delay, loss and rate, and a home on it.

It needs what link.py needs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from link import Link, SshServer
from rig import Rig

from finetop.core.runtime.home import Home

HOST = "far-box"


@dataclass
class Far:
    """The far host: its supervisor (queried directly), the link, the sshd, and the settings to reach them from here."""

    rig: Rig
    link: Link
    server: SshServer
    environment: dict[str, str]
    folder: Path

    @property
    def options(self) -> list[str]:
        """Return the command-line options that reach it."""
        return ["--on", HOST]


@contextmanager
def far_host(
    folder: Path, *, delay_ms: float = 75.0, loss: float = 0.01, rate_kbit: float = 0.0
) -> Iterator[Far]:
    """Set everything up, and tear it down again. `delay_ms` is one way."""
    with (
        Link(delay_ms=delay_ms, loss=loss, rate_kbit=rate_kbit) as link,
        SshServer(link) as server,
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
            f"Host {HOST}\n  HostName {link.server_ip}\n  Port {server.port}\n  User {server.user}\n"
            f"  IdentityFile {server.folder}/id\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n"
        )
        ssh = programs / "ssh"
        ssh.write_text(
            f'#!/bin/sh\nexec ip netns exec {link.client_namespace} /usr/bin/ssh -F "{config}" "$@"\n'
        )
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
