"""Requests about a live run besides its numbers: curves over time, its processes, lines of its log."""

from waiting import wait_until

from finetop.core.protocol.messages.queue import Kill
from finetop.core.protocol.messages.runs import Curves, FindInLog, Processes, ProcessRow, ReadLog
from finetop.core.runtime.processes import alive


def test_a_live_run_tells_its_processes_and_its_log_is_searched(rig):
    name = rig.submit(steps=400, waits_at=4)
    rig.wait_state(name, "running")

    def both() -> list[ProcessRow]:
        answer = rig.ask(Processes(name)).processes[:2]
        return answer if len(answer) == 2 else []

    keeper, job = wait_until(both, "the keeper and its job")
    assert alive(keeper.pid) and alive(job.pid) and keeper.job == job.job
    assert "keeper" in keeper.command and "/" not in job.command
    assert job.memory_gib is not None and 0.005 < job.memory_gib < 4 and job.threads

    folder = rig.job_folder(name)
    lines = ["step 1/400: loss 1", "no room: Größe 7", "step 3/400: loss 0.5", "NO ROOM again"]
    (folder / "log.txt").write_text("\n".join(lines))
    hits = rig.ask(FindInLog(name, text="no room"))
    assert hits.at == [19, len("\n".join(lines[:3]).encode()) + 1] and hits.begin == 0
    (at,) = rig.ask(FindInLog(name, step=2)).at
    assert rig.ask(ReadLog(name, offset=at, limit=6)).text == "step 3"

    rig.wait_step(name, 3)
    answer = rig.ask(Curves(name, ["loss"], columns=10, last=3600, x="time"))
    assert answer.newest > 0 and answer.steps is not None and answer.curves[0].column[0] == 0
    rig.ask(Kill(name))
    rig.wait_state(name, "stopped")
    assert rig.ask(Processes(name)).processes == []
