"""Fault 6: a full disk while several runs write: reported, nothing corrupt or half made, and recovered."""

import json
import subprocess
from collections import Counter

import pytest
from dumping import differences, dump
from rig import SEVERAL, counted
from waiting import times as repeats, wait_until

from finetop.core.errors import EnvironmentTrouble
from finetop.core.protocol import events, runs as data
from finetop.core.protocol.messages.session import Changes, Shutdown
from finetop.core.supervisor.rebuild import rebuild

WRITERS = 4


@pytest.fixture
def small_disk(request, cold_rig, tmp_path):
    """The rig's home on a file system of so many MB; the jobs' side files are elsewhere."""
    root = cold_rig.home.root
    root.mkdir(mode=0o700)
    process = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={request.param}m,mode=700", "tmpfs", str(root)],
        capture_output=True,
        check=False,
    )
    if process.returncode:
        pytest.skip("mounting a small file system needs root")
    cold_rig.side = tmp_path
    cold_rig.settings = SEVERAL
    cold_rig.up()
    yield cold_rig
    cold_rig.stop_all()
    subprocess.run(["umount", "-l", str(root)], check=True)


def fill(root):
    """Fill the disk to its last byte: a file that ends within a block still has room there."""
    ballast = root / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 512, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass
    return ballast


def trouble(rig) -> str:
    return rig.ask(Changes(0, 0.0)).trouble


@pytest.mark.parametrize(("small_disk", "times"), [(8, 1), (32, repeats(20, 3))], indirect=["small_disk"])
def test_a_full_disk_is_said_survived_and_left_behind(small_disk, tmp_path, terminal_of, survived, times):
    rig, is_over, ends_meanwhile = small_disk, tmp_path / "is-over", tmp_path / "ends-meanwhile"
    app = terminal_of(rig.home.root)
    app.wait_text("runs")
    endless = {"steps": 1_000_000, "pause_s": 0.005}
    names = [rig.submit(f"writer-{n}", until_file=str(is_over), **endless) for n in range(WRITERS)]
    names.append(rig.submit("ends", until_file=str(ends_meanwhile), **endless))
    sides = [rig.side / f"{rig.job_folder(name).name}.txt" for name in names]
    for name in names:
        rig.wait_step(name)
    for _ in range(times):
        ballast = fill(rig.home.root)
        wait_until(lambda: "full" in trouble(rig), "it is said that the disk is full")
        app.wait_text("the disk is full")
        with pytest.raises(EnvironmentTrouble, match=r"room|full|No space"):
            rig.submit("refused", steps=1)
        assert len(list(rig.home.runs.iterdir())) == len(names)
        for side in sides[:WRITERS]:
            wait_until(side.with_suffix(".lost").exists, "each writes while it is full")
            side.with_suffix(".lost").unlink()
        ends_meanwhile.touch()
        wait_until(sides[WRITERS].with_suffix(".done").exists, "one is done while it is full")
        ballast.unlink()
        wait_until(lambda: trouble(rig) == "", "recovered")
        wait_until(lambda: app.pump(0.1) or "the disk is full" not in app.text(), "the app says so too")
    is_over.touch()
    ends = [rig.wait_state(name, "finished", "failed", "lost", "stopped").state for name in names]
    rig.wait_state(rig.submit("third", steps=1), "finished")
    wrong = [f"{end}" for end in ends if data.word(end) != "finished"]
    counts: Counter[str] = Counter()
    for name in names:
        reported, side = rig.told_and_written(name)
        counts.update(counted(reported, side))
        wrong += [f"{name}: {step} is in no line" for step in set(reported) - whole_lines(rig, name)]
    orphans = rig.orphans()
    wrong += corrupt(rig)
    print(*wrong, sep="\n")
    survived("6", f"full disk, {len(names)} runs write", repeats=times, **counts, wrong=len(wrong),
             orphans=len(orphans))  # fmt: skip


def whole_lines(rig, name: str) -> set[int]:
    """Return the steps in a job's file. A line that lacked only its newline counts as lost for the job."""
    steps_found = []
    for line in (rig.job_folder(name) / "events.jsonl").read_bytes().splitlines():
        try:
            steps_found.append(events.decode(line).e)
        except events.Unreadable:
            continue  # it was cut
    return {event.step for event in steps_found if isinstance(event, events.Metrics)}


def corrupt(rig) -> list[str]:
    """List what is incomplete in a home whose jobs have ended: files, and rows that the folders do not restore."""
    rig.ask(Shutdown())
    rig.processes[-1].wait()
    for file in rig.home.root.rglob("*.json"):
        json.loads(file.read_bytes())
    before = dump(rig.home.database)
    return rebuild.rebuild(rig.home).left_out + differences(before, dump(rig.home.database))
