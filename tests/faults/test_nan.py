"""Fault 15: a NaN loss: an alarm, NULL with a flag in the store, a picture, the last good checkpoint."""

import subprocess
import sys

from rank_jobs import make_job, make_run
from tiny_run import read_events

from finetop.core.models import checkpoint
from finetop.core.protocol import events
from finetop.core.protocol.messages.runs import Curves, GetRun, Sql

# As core/train reports it: numbers until step 10, then none.
JOB = """
import math, sys
from pathlib import Path
from finetop.core.protocol import events
from finetop.core.runtime.event_log import EventLog
log = EventLog(Path(sys.argv[1]) / "events.jsonl")
log.write(events.Started(1, 1, 1, "cpu", "float32", {}))
log.write(events.Planned(30, 1.0, 10, 0, 100, 1, 1))
for step in range(1, 21):
    loss = 1 / step if step < 11 else math.inf if step == 15 else math.nan
    log.write(events.metrics(step, {"loss": loss, "grad_norm": 1.0 if step < 11 else math.nan}))
    if step == 11:
        log.write(events.Alarm("nan", step, f"loss is nan at step {step}: lower train.learning_rate"))
    log.write(events.Phase("training", step, 30, "steps", 1.0))
log.write(events.Ended("failed", "the loss is NaN since step 11", "Lower it.", 1, "nan"))
raise SystemExit(1)
"""


def test_a_loss_that_is_no_number_is_told_kept_and_drawn(cold_rig, tmp_path, terminal_of, survived):
    (tmp_path / "job.py").write_text(JOB)
    cold_rig.up(FINETOP_TEST_JOB=str(tmp_path / "job.py"))
    name = cold_rig.submit("hot")
    row = cold_rig.wait_state(name, "failed")
    wrong = row.state.kind != "nan"
    query = "SELECT step, value, bad FROM metrics WHERE key = 'loss' ORDER BY step"
    stored = cold_rig.ask(Sql(query)).rows
    bad = {step: flag for step, value, flag in stored if value is None}
    wrong += bad != {step: "inf" if step == 15 else "nan" for step in range(11, 21)}
    (alarm,) = cold_rig.ask(GetRun(name)).alarms
    wrong += (alarm.kind, alarm.step) != ("nan", 11)
    (curve,) = cold_rig.ask(Curves(name, ["loss"], columns=30, last=30)).curves
    wrong += (curve.bad, max(curve.high), len(curve.high)) != (10, 1.0, 10)
    app = terminal_of(cold_rig.home.root)
    app.wait_text("FAILED")
    app.keys("\r")
    app.wait_text("10 not finite")
    survived("15", "a loss that is no number", written=20, lost=20 - len(stored), wrong=wrong)


# A real training whose weights become NaN in step 12, as by a fault of the memory that holds them.
POISONED = """
import math
from finetop.core import run_job as job
from finetop.core.train.meter import Meter
end = Meter.on_step_end
def poison(self, args, state, control, **kwargs):
    if state.global_step == 12:
        next(p for p in kwargs["model"].parameters() if p.requires_grad).data.fill_(math.nan)
    return end(self, args, state, control, **kwargs)
Meter.on_step_end = poison
raise SystemExit(job.main())
"""


def test_the_last_good_checkpoint_of_a_real_training_is_kept_and_named(tmp_path, tiny_model, survived):
    train = {"max_steps": 60, "save_every": 5, "eval_every": 60, "stop_on_nan": 4, "keep_checkpoints": 1}
    run = make_run(tmp_path / "home", tiny_model, "tiny", train={**train, "batch_size": 4}, samples={"count": 0},
                   drift={"every": None}, check={"general": None})  # fmt: skip
    job = make_job(run, 1)
    done = subprocess.run(
        [sys.executable, "-c", POISONED, str(job)], capture_output=True, text=True, check=False
    )
    event_rows = read_events(job)
    last = event_rows[-1]
    assert isinstance(last, events.Ended), done.stderr
    assert (last.kind, done.returncode) == ("nan", 1), done.stderr
    assert last.cause == "the loss is NaN since step 13: nothing can be learned any more."
    assert "finetop resume tiny@10 --set train.learning_rate=" in last.hint
    kept = [checkpoint.step_of(one) for one in checkpoint.complete(job.parent.parent)]
    steps = [one.step for one in event_rows if isinstance(one, events.Metrics) and "loss" in one.values]
    survived("15", "weights that are no numbers from step 12 on", written=len(steps), lost=int(kept != [10]),
             wrong=max(steps) != 16)  # fmt: skip
