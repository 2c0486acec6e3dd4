"""kill -9 of the supervisor in mid-ingest at random moments: every event lands, exactly once."""

import random
import time

import pytest

from finetop.core import protocol


@pytest.mark.parametrize("kills", [20, pytest.param(50, marks=pytest.mark.slow)])
def test_kills_at_random_moments_lose_and_double_nothing(cold_rig, kills):
    random_moment = random.Random(7)
    process = cold_rig.start()
    cold_rig.wait_ready()
    name = cold_rig.submit(steps=60_000, pause_s=0.0002)
    folder = cold_rig.job_folder(name)
    deadline = time.monotonic() + 60
    while not (folder / "side.txt").exists() or not (folder / "side.txt").stat().st_size:
        assert time.monotonic() < deadline, "the job never began"
        time.sleep(0.05)
    for _ in range(kills):
        cold_rig.wait_ready()
        time.sleep(random_moment.uniform(0.0, 0.25))
        process.kill()
        process.wait()
        process = cold_rig.start()
    cold_rig.wait_ready()
    if cold_rig.ask(protocol.GetRun(name)).row.state.__class__.__name__ == "Running":
        cold_rig.ask(protocol.Stop(name))
    cold_rig.wait_state(name, "finished", "stopped", timeout_s=60)
    side = [int(line) for line in (folder / "side.txt").read_text().split()]
    assert len(side) > 20 * kills, "too few events to have been in mid-ingest"
    stored = cold_rig.ask(
        protocol.Sql(
            "SELECT step, count(*) FROM metrics WHERE key = 'loss' GROUP BY step ORDER BY step", 100_000
        )
    ).rows
    assert [step for step, _ in stored] == side
    assert {count for _, count in stored} == {1}
    assert cold_rig.ask(protocol.GetRun(name)).jobs[0].attempt == 1
