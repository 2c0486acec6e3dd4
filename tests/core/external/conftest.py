"""Files are searched for at each look; the real supervisor has small Python scripts as its jobs, without torch."""

import json

import pytest
from made_elsewhere import write_adapter, write_base

from finetop.core.external import numbers, search
from finetop.core.protocol.messages.runs import Sql

# Reports steps FIRST to LAST, then ends; with HOLD it goes on until it is signalled.
TRAIN = """
import json, os, sys, time
first, last, *hold = sys.argv[1:]
with open(os.environ["FINETOP_METRICS"], "a", buffering=1) as file:
    for step in range(int(first), int(last) + 1):
        print(json.dumps({"step": step, "loss": 1.0 / step, "total_steps": 8}), file=file)
print("reported", flush=True)
while hold:
    time.sleep(0.05)
"""


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SEARCH_S", 0.0)
    monkeypatch.setattr(search, "SEARCHES", 0)
    monkeypatch.setattr(numbers, "HOLD_S", 0.0)


@pytest.fixture
def finetop(station, finetop_of, tmp_path, monkeypatch):
    """Run one command in the test's folder, where train.py lies."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(TRAIN)
    return finetop_of(station.home)


@pytest.fixture
def queue(finetop, request):
    """Queue a command under the test's name, or another; return the run's name. It must be accepted."""

    def queue_it(*program, options=(), name=request.node.name):
        code, out, err = finetop("run", "--name", name, *options, "--json", "--", *program)
        assert code == 0, err
        return json.loads(out)["run"]

    return queue_it


@pytest.fixture
def losses(station):
    """Return a function that lists a run's loss as stored: each row, in the order of steps."""

    def of(name):
        query = "SELECT m.step, m.value FROM metrics m JOIN runs r ON r.id = m.run_id"
        query += f" WHERE m.key = 'loss' AND r.name = '{name}' ORDER BY m.step"
        return [(step, round(value, 4)) for step, value in station.ask(Sql(query, 1000)).rows]

    return of


@pytest.fixture
def base(tmp_path):
    return write_base(tmp_path / "base")


@pytest.fixture
def adapter(base, tmp_path):
    """An adapter of that base, which programs copy."""
    return write_adapter(tmp_path / "adapter", base)
