"""Which command has a file open, and where a process says that it writes to."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetop.core.external.watch import environment_of
from finetop.core.external.writers import is_foreign

SCRIPT = "import sys; file = open(sys.argv[1], 'ab'); print('open', flush=True); sys.stdin.read()"
Process = subprocess.Popen[bytes]


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Process]:
    """Start a process of another command, which has a file open."""
    environment = {**os.environ, "FINETOP_METRICS": "/other", "WANDB_DIR": "/w", "SECRET": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "open")],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        yield process
        process.kill()


def test_a_file_is_foreign_while_only_another_command_has_it_open(tmp_path: Path, writer: Process) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "open")
    (tmp_path / "closed").touch()
    assert is_foreign(tmp_path / "open", "/own")
    assert is_foreign(tmp_path / "link", "")
    assert not is_foreign(tmp_path / "open", "/other")
    assert not is_foreign(tmp_path / "closed", "/own")
    assert not is_foreign(tmp_path / "none", "/own")
    writer.kill()
    writer.wait()
    assert not is_foreign(tmp_path / "open", "/own")


def test_only_what_says_where_files_go_is_read_of_a_process(writer: Process) -> None:
    assert environment_of(writer.pid).items() >= {"FINETOP_METRICS": "/other", "WANDB_DIR": "/w"}.items()
    assert "SECRET" not in environment_of(writer.pid)
    assert environment_of(0) == {}
    writer.kill()
    writer.wait()
    assert environment_of(writer.pid) == {}
