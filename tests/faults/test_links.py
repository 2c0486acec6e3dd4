"""Fault 26: links, pipes and folders planted by another user: not followed."""

import contextlib
import os

import pytest

from finetop.core.errors import EnvironmentTrouble
from finetop.core.runtime.home import Home, prepare
from finetop.core.store import jobs
from finetop.core.supervisor import tick
from finetop.core.supervisor.endings import exit_reason
from finetop.core.supervisor.launchers import local
from finetop.core.supervisor.requests import runs as run_requests

NOBODY = 65_534


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="to be another user needs root")


@needs_root
def test_a_home_or_a_link_of_another_user_is_refused(tmp_path, survived):
    theirs, link = tmp_path / "theirs", tmp_path / "link"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    mine = tmp_path / "mine"
    mine.mkdir()
    link.symlink_to(mine)
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    for place in (theirs, link):
        with pytest.raises(EnvironmentTrouble, match=str(NOBODY)):
            prepare(Home(place))
    assert list(mine.iterdir()) == []
    survived("26", "a home of another user, a link of another user", repeats=2)


def test_a_link_in_place_of_the_socket_s_folder_is_refused(tmp_path, monkeypatch, survived):
    """A home with a long path has its socket in the runtime folder, where another user may have been first."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "runtime").symlink_to(elsewhere)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    home = Home(tmp_path / ("long" * 30))
    assert home.socket.parent == tmp_path / "runtime"
    with pytest.raises(EnvironmentTrouble, match="is a link"):
        prepare(home)
    assert list(elsewhere.iterdir()) == []
    survived("26", "a link in place of the socket's folder")


LINKED = ["events.jsonl", "log.txt", "job.json", "attempt", "exit.json", "keeper.json", "lock"]


async def test_links_pipes_and_devices_in_a_job_s_folder_are_not_followed(quiet, tmp_path, survived):
    """Made before the job starts: their targets are neither read nor written, and no beat waits for a pipe."""
    target = tmp_path / "precious"
    for kind in ("link", "pipe"):
        for name in LINKED if kind == "link" else ["events.jsonl", "log.txt", "exit.json"]:
            target.write_text("precious")
            run_id = quiet.queue(f"{kind}-{name.replace('.', '-')}")
            job = next(job for job in jobs.queued(quiet.supervisor.connection) if job.run_id == run_id)
            folder = quiet.home.root / job.folder
            folder.mkdir(parents=True)
            place = folder / name
            place.symlink_to(target) if kind == "link" else os.mkfifo(place)
            tick.make_folder(folder, quiet.home.runs, tick.spec_of(quiet.supervisor, job))
            with contextlib.suppress(OSError):
                local.claim(folder, 1)
            await tick.take_in(quiet.supervisor, [job], {job.id: 1})
            exit_reason.last_lines(folder / "log.txt", None)
            assert run_requests.read_piece(folder / "log.txt", 1, 0, 100).text == ""
            assert local.exit_of(folder, 1) is None
            assert target.read_text() == "precious", name
    survived("26", "links and pipes in a job's folder", repeats=len(LINKED) + 3)


async def test_a_job_folder_that_leads_out_of_the_home_is_not_written_to(quiet, tmp_path, survived):
    outside = tmp_path / "outside"
    outside.mkdir()
    quiet.queue("one")
    job = jobs.queued(quiet.supervisor.connection)[0]
    folder = quiet.home.root / job.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.symlink_to(outside)
    await tick.start(quiet.supervisor, job, ())
    assert list(outside.iterdir()) == []
    state = quiet.rows("SELECT state FROM runs")[0][0]
    assert "leads out of" in state
    survived("26", "a job's folder that leads out of the home")


def test_a_run_folder_that_is_there_already_is_not_taken(quiet, tmp_path):
    (quiet.home.runs / "0001-one").symlink_to(tmp_path)
    with pytest.raises(EnvironmentTrouble, match="file exists"):
        quiet.queue("one")
    assert not (tmp_path / "run.json").exists()
