"""A training program that reports to one tracker, and notes each value in a side file once it has reported it.

python tracked_program.py TRACKER NAME SIDE STEPS PAUSE_S BASE [real]: the loss of step N is BASE + N / 1000. With
`real` the tracker's own package writes its files if it is installed, else a small writer of its format does.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

Log = Callable[[int, float], object]


def trackio(name: str, is_real: bool) -> Log:
    if is_real and find_spec("trackio"):
        import trackio as package

        package.init(project="demo", name=name)
        return lambda step, loss: package.log({"loss": loss}, step=step)
    home = Path(os.environ["TRACKIO_DIR"])
    home.mkdir(exist_ok=True)
    database = sqlite3.connect(home / "demo.db", timeout=60, isolation_level=None)
    columns = "id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT, {} TEXT, run_name TEXT, {}"
    database.execute(f"CREATE TABLE IF NOT EXISTS metrics ({columns.format('timestamp', 'step, metrics')})")
    database.execute(f"CREATE TABLE IF NOT EXISTS configs ({columns.format('created_at', 'config')})")
    database.close()
    print(f"* Trackio project initialized: demo\n* Created new run: {name}", flush=True)
    run_id = os.urandom(8).hex()

    def log(step: int, loss: float) -> None:
        row = (run_id, datetime.now(UTC).isoformat(), name, step, json.dumps({"loss": loss}))
        opened = sqlite3.connect(home / "demo.db", timeout=60)
        with opened:
            opened.execute(
                "INSERT INTO metrics (run_id, timestamp, run_name, step, metrics) VALUES (?,?,?,?,?)", row
            )
        opened.close()

    return log


def tensorboard(name: str, is_real: bool) -> Log:
    if is_real and find_spec("tensorboardX"):
        from tensorboardX import SummaryWriter

        writer = SummaryWriter(f"runs/{name}", flush_secs=1)
        return lambda step, loss: writer.add_scalar("loss", loss, step)
    from metric_bytes import scalars

    folder = Path("runs") / name
    folder.mkdir(parents=True)
    file = (folder / f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.0").open(
        "ab", 0
    )
    return lambda step, loss: file.write(scalars(step, time.time(), loss=loss))


def wandb(name: str, is_real: bool) -> Log:
    if is_real and find_spec("wandb"):
        import wandb as package

        run = package.init(project="demo", name=name, mode="offline", settings={"silent": True})
        return lambda step, loss: run.log({"loss": loss}, step=step)
    from metric_bytes import Leveldb, history

    folder = Path("wandb") / f"offline-run-{name}"
    (folder / "logs").mkdir(parents=True)
    now = f"{datetime.now(UTC):%F %T},000"
    (folder / "logs" / "debug.log").write_text(
        f"{now} INFO    MainThread:{os.getpid()} [wandb_setup.py:_flush():81]\n"
    )
    file, records = (folder / f"run-{name}.wandb").open("ab", 0), Leveldb()
    return lambda step, loss: file.write(records.add(history(step, loss=loss)))


def csv(name: str, is_real: bool) -> Log:
    """Open the file for each row, as many scripts do: no process is ever seen with it open."""

    def log(step: int, loss: float) -> None:
        file = Path("metrics.csv")
        head = "" if file.exists() else "step,loss\n"
        with file.open("a") as opened:
            opened.write(f"{head}{step},{loss}\n")

    return log


def stdout(name: str, is_real: bool) -> Log:
    return lambda step, loss: os.write(1, f"step {step} loss {loss}\n".encode())


TRACKERS = {tracker.__name__: tracker for tracker in (trackio, tensorboard, wandb, csv, stdout)}


def main() -> None:
    tracker, name, side, steps, pause_s, base, *real = sys.argv[1:]
    log = TRACKERS[tracker](name, bool(real))
    with Path(side).open("ab", 0) as noted:
        for step in range(1, int(steps) + 1):
            loss = float(base) + step / 1000
            log(step, loss)
            noted.write(f"{step} {loss}\n".encode())
            time.sleep(float(pause_s))  # a step's time


if __name__ == "__main__":
    main()
