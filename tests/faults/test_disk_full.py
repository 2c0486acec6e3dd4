"""A full disk: said in words, nothing corrupt or half-made, training not killed by our logging, and back again."""

import subprocess
import time

import pytest

from finetop.core import protocol
from finetop.core.errors import EnvironmentTrouble


@pytest.fixture
def small_disk(cold_rig):
    """The rig's home on a file system of 8 MB."""
    root = cold_rig.home.root
    root.mkdir(mode=0o700)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", str(root)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("mounting a small file system needs root")
    cold_rig.start()
    cold_rig.wait_ready()
    yield cold_rig
    cold_rig.stop_all()
    subprocess.run(["umount", "-l", str(root)], check=True)


def fill(root):
    ballast = root / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 65536)
        except OSError:
            pass
        try:
            while True:
                file.write(b"x" * 512)
        except OSError:
            pass
    return ballast


def test_a_full_disk_is_said_survived_and_left_behind(small_disk):
    rig = small_disk
    name = rig.submit(steps=4000, pause_s=0.005)
    rig.wait_state(name, "running")
    folder = rig.job_folder(name)
    time.sleep(1.0)
    ballast = fill(rig.home.root)
    deadline = time.monotonic() + 30
    while "full" not in rig.ask(protocol.Changes(0, 0.0)).trouble:
        assert time.monotonic() < deadline, "nobody said that the disk is full"
        time.sleep(0.2)
    with pytest.raises(EnvironmentTrouble, match=r"room|full|No space"):
        rig.submit("second", steps=1)
    assert [p.name for p in rig.home.runs.iterdir()] == ["0001-fake"]
    ballast.unlink()
    rig.wait_state(name, "finished", timeout_s=60)
    assert rig.ask(protocol.Changes(0, 0.0)).trouble == ""
    assert rig.submit("third", steps=1) == "third"
    stored = rig.ask(
        protocol.Sql("SELECT step, count(*) FROM metrics WHERE key = 'loss' GROUP BY step", 10_000)
    ).rows
    side = {int(line) for line in (folder / "side.txt").read_text().split()}
    assert {count for _, count in stored} == {1}
    assert 4000 in dict(stored)
    assert set(dict(stored)) <= side | set(range(1, 4001))
