"""What the measuring scripts share: tests/rig on the path, options, jobs of their own, costs of processes, pages.

Each script begins with `import bench`, before it imports anything of tests/rig.
"""

from __future__ import annotations

import argparse
import atexit
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from finetop.core.protocol import events
from finetop.core.protocol.runs import JobSpec
from finetop.core.runtime.home import Home, prepare

RIG = Path(__file__).parents[1] / "rig"
sys.path[:0] = [str(RIG), str(RIG.parent)]
APP = [sys.executable, "-m", "finetop.tui.main"]
RUN_JOB = [sys.executable, "-m", "finetop.core.run_job"]
FINISHED = """'{"type":"finished","since":1.0,"ended":' || i || '}'"""
RUNS = (
    "INSERT INTO runs (id, name, model, method, objective, created, folder, recipe, source, state, rank, ended, step,"
    " steps, last) SELECT i + 1, {name}, {model}, {method}, 'sft', i, 'runs/' || i, '{{}}', '', {state}, 3, i, {steps},"
    " {steps}, {last} FROM range(?) t(i)"
)


def options(about: str | None, *positional: tuple[str, str], **wanted: Any) -> argparse.Namespace:
    """Parse the command line. Each option is its default, its type, False for a switch or [] if it may be repeated.

    A pair adds its help, a dict holds what argparse takes. Arguments without a name are pairs of name and nargs.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    required: list[str] = []
    for name, nargs in positional:
        parser.add_argument(name, nargs=nargs)
    for name, given in wanted.items():
        default, text = given if isinstance(given, tuple) else (given, None)
        more: dict[str, Any] = {"type": type(default), "default": default}
        if isinstance(default, dict):
            more = default
        elif default is False:
            more = {"action": "store_true"}
        elif default == []:
            more = {"action": "append", "default": []}
        elif isinstance(default, type):
            more = {"type": default}
        option = parser.add_argument(f"--{name.replace('_', '-')}", help=text, **more)
        required += option.option_strings * option.required
    if required and len(sys.argv) == 1:
        skip(f"give {' and '.join(required)}")
    return parser.parse_args()


def skip(reason: str) -> NoReturn:
    """Print in one line why a script measures nothing here, and exit with 0, so that `make bench` continues."""
    print(f"skipped: {reason}")
    sys.exit(0)


def require_packages(*names: str) -> None:
    """Skip the script if a package of a peer is not installed."""
    if missing := [name for name in names if importlib.util.find_spec(name) is None]:
        skip(f"needs {' and '.join(missing)}, which is not installed")


def data_folder() -> Path:
    """Return the folder of the test data; skip the script if there is none."""
    folder = Path(os.environ.get("FINETOP_TEST_DATA") or "/nowhere")
    if not folder.is_dir():
        skip("FINETOP_TEST_DATA names no folder with the test data")
    return folder


def folder_of_its_own() -> Path:
    """Make a folder that is removed when the script ends."""
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    atexit.register(folder.cleanup)
    return Path(folder.name)


def read_rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def write_rows(file: Path, rows: Iterable[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def write_job(
    home: Home, run: str, recipe: dict[str, Any], verb: str = "train", number: int = 1, **args: Any
) -> Path:
    """Write the folder of a job as the supervisor does; `run` is the run's folder, such as 0001-bench."""
    prepare(home)
    folder = home.runs / run / "jobs" / f"{number:04d}-{verb}"
    folder.mkdir(parents=True)
    id_, _, name = run.partition("-")
    spec = JobSpec(1, number, int(id_), name, verb, recipe, args)
    (folder / "job.json").write_bytes(msgspec.json.encode(spec))
    return folder


def run_job(job: Path) -> resource.struct_rusage:
    """Run a job in a process of its own, with its output in log.txt, and return what it used."""
    with (job / "log.txt").open("wb") as log:
        own = {**os.environ, "HF_HUB_OFFLINE": "1"}
        process = subprocess.Popen([*RUN_JOB, str(job)], env=own, stdout=log, stderr=log)
        return os.wait4(process.pid, 0)[2]


def read_events(job: Path, kind: Any = object) -> list[Any]:
    lines = (job / "events.jsonl").read_bytes().splitlines()
    return [event for line in lines if isinstance(event := events.decode(line).e, kind)]


def cpu_seconds(command: Sequence[str], **settings: str) -> float:
    """Run a command to its end; return user and system seconds of it and its children. Raises on failure."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, env={**os.environ, **settings}, stdout=sys.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def again(*words: object, **settings: str) -> str:
    """Run this script in a process of its own with these arguments, and return its last line. Raises on failure."""
    command = [sys.executable, sys.argv[0], *map(str, words)]
    done = subprocess.run(
        command, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


def medians(rows: Iterable[Sequence[float]]) -> list[float]:
    """Return the median of each column."""
    return [statistics.median(column) for column in zip(*rows, strict=True)]


def load() -> str:
    return f"load {os.getloadavg()[0]:.1f}"


def cpu_of(*pids: int, children: bool = False) -> float:
    """Return the CPU seconds of processes so far, with those of their ended children or without."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11 : 15 if children else 13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int | str, key: str = "VmRSS") -> float:
    """Return the resident memory of a process, or its peak (VmHWM)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) / 1024


class Writers:
    """A home with the real supervisor and jobs that wait for the signal to write (tests/rig/writing_job.py)."""

    def __init__(self, folder: Path, count: int, **plan: Any) -> None:
        from rig import Rig

        self.rig = Rig(Home(folder / "home"), settings=f"settings: 1\nslots: {{cpu_jobs: {count}}}\n")
        self.process = self.rig.up(FINETOP_TEST_JOB=str(RIG / "writing_job.py"), FINETOP_SPARE="0")
        self._go = folder / "go"
        self.names = [
            self.rig.submit(
                f"writer-{number:02d}", go=str(self._go), after_s=plan["pause_s"] * number / count, **plan
            )  # not all at the same moment
            for number in range(count)
        ]
        self.wait("SELECT count(*) FROM jobs WHERE last_n >= 2", count)

    def go(self) -> None:
        self._go.touch()

    def wait(self, query: str, wanted: int) -> None:
        from finetop.core.protocol.messages.runs import Sql

        deadline = time.monotonic() + 300
        while self.rig.ask(Sql(query)).rows[0][0] < wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{query} never gave {wanted}; {self.rig.home.log.read_text()}")
            time.sleep(0.1)  # between two looks


@contextmanager
def writers(count: int, **plan: Any) -> Iterator[Writers]:
    """Yield jobs that are about to write, and end them."""
    with tempfile.TemporaryDirectory(prefix="writers") as folder:
        made = Writers(Path(folder), count, **plan)
        try:
            yield made
        finally:
            made.rig.stop_all()


def store_runs(connection: Any, count: int, **columns: str) -> None:
    """Store that many finished runs; `columns` are SQL over their number i."""
    usual = {
        "model": "'model'", "method": "'lora'", "state": FINISHED, "steps": "100", "last": "'{\"loss\":1.5}'",
    }  # fmt: skip
    connection.execute(RUNS.format(**{**usual, **columns}), [count])


def put_into(page: Path | None, mark: str, lines: Sequence[str], end: str = "") -> None:
    """Put a table into a page, after its mark and before what begins with `end`."""
    if page is not None:
        head, _, rest = page.read_text(encoding="utf-8").partition(mark)
        tail = rest[rest.index(end) :] if end else "\n"
        page.write_text(f"{head}{mark}\n\n" + "\n".join(lines) + tail, encoding="utf-8")
