"""Fault 24: other users of the machine: files for the owner only, and the kernel's word on who connects."""

import contextlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from finetop.core.client.connection import Client
from finetop.core.errors import FinetopError
from finetop.core.protocol import wire
from finetop.core.protocol.messages.session import Hello, Shutdown
from finetop.core.runtime.home import Home, prepare

NOBODY = 65_534


def open_to_others(root: Path) -> list[str]:
    """List what below a folder others could reach if the folder itself were open."""
    results = []
    for path in [root, *root.rglob("*")]:
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode) and mode & 0o077:
            results.append(f"{path.relative_to(root)} {stat.S_IMODE(mode):o}")
    return results


def test_whatever_the_umask_all_is_for_the_owner_only(tmp_path, survived):
    """A command starts the supervisor if there is none: with umask 0, everything the two make is private."""
    home = Home(tmp_path / "home")
    program = (
        "import os; os.umask(0); from finetop.core.commands.main import main;"
        f"raise SystemExit(main(['--home', {str(home.root)!r}, 'supervisor', 'start']))"
    )
    try:
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
        assert stat.S_IMODE(home.socket.stat().st_mode) == 0o600
        found = open_to_others(home.root)
        assert found == []
        survived("24", "umask 0", written=len(list(home.root.rglob("*"))), wrong=len(found))
    finally:
        with contextlib.suppress(FinetopError), Client(home, start=False) as client:
            client.ask(Shutdown())


def test_files_of_jobs_are_for_the_owner_only(cold_rig):
    old = os.umask(0)
    try:
        cold_rig.start()
    finally:
        os.umask(old)
    cold_rig.wait_ready()
    cold_rig.wait_state(cold_rig.submit(steps=3), "finished")
    by_the_rig = ("supervisor.log", "settings.yaml")  # the test above has a client's log
    assert [path for path in open_to_others(cold_rig.home.root) if not path.startswith(by_the_rig)] == []


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="to be another user needs root")


@needs_root
def test_another_user_is_not_answered_even_on_an_open_socket(rig, survived):
    """The folder and the socket are made open to all: what is left is the kernel's word on who connects."""
    folder, name = rig.home.socket.parent, rig.home.socket.name
    folder.chmod(0o711)  # entered as root: those above stay closed, as another pytest would close them again
    rig.home.socket.chmod(0o666)
    line = wire.envelope(1, Hello()) + b"\n"
    program = (
        f"import os, socket, sys; os.setgid({NOBODY}); os.setuid({NOBODY}); s = socket.socket(socket.AF_UNIX);"
        f"s.settimeout(10); s.connect({name!r}); s.sendall({line!r}); print(s.recv(100))"
    )
    for _ in range(20):
        process = subprocess.run(
            [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False
        )
        refused = any(word in process.stderr for word in ("ConnectionReset", "BrokenPipe"))
        assert process.stdout == "b''\n" or refused, process
    assert rig.ask(Hello()).pid > 1
    survived("24", "another user's requests", repeats=20)


@needs_root
def test_a_socket_that_another_user_has_put_there_is_not_spoken_to(tmp_path, survived):
    home = Home(tmp_path / "home")
    prepare(home)
    program = (  # the credentials are those of the process that called listen
        f"import os, socket; s = socket.socket(socket.AF_UNIX); s.bind({str(home.socket)!r});"
        f"os.setgid({NOBODY}); os.setuid({NOBODY}); s.listen(); print('up', flush=True);\nwhile True: s.accept()"
    )
    other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline()
        with pytest.raises(FinetopError), Client(home, start=False):
            pass
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    survived("24", "another user's socket")
