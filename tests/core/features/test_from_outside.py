"""A feature and its kind of job are one folder: one that is added from outside is found by all its doors."""

import json
from pathlib import Path

from python_call import call

FILES = {
    "__init__.py": '"""A feature that is no part of finetop."""\n',
    "messages.py": """
import msgspec
from finetop.core.protocol.request import Question

class ProbeAnswer(msgspec.Struct, frozen=True):
    text: str

class Probe(Question[ProbeAnswer], tag="probe", frozen=True):
    pass
""",
    "requests.py": """
from finetop.core.features.probe.messages import Probe, ProbeAnswer

ANSWERS = {Probe: lambda supervisor, ask: ProbeAnswer("here")}
""",
    "kind.py": """
from finetop.core.protocol.job_kinds import JobKind

class ProbeKind(JobKind):
    verb, word, work = "probe", "probe", "finetop.core.features.probe.job"

    def only_reads(self, args):
        return True

    def facts(self, args):
        return f"of {args['what']}"

KINDS = (ProbeKind(),)
""",
    "job.py": """
from finetop.core.protocol.events import Ended

IF_STOPPED = "asked to stop"

def work(job):
    job.started("cpu", "float32", ())
    return Ended("finished", f"probed {job.args['what']}")
""",
    "commands/__init__.py": "",
    "commands/probe.py": """
from finetop.core.commands import Command

PLUGIN = Command("look at it", "watch", lambda args, home: print("probed") or 0)
""",
}
TRIAL = """
import asyncio, json, sys
from pathlib import Path

import finetop.core.features
finetop.core.features.__path__.append(sys.argv[1])

import msgspec
from still import still as still_at

from finetop.core import run_job
from finetop.core.commands.main import main
from finetop.core.commands.show import job_words
from finetop.core.protocol import wire
from finetop.core.protocol.job_kinds import of
from finetop.core.store import jobs, runs
from finetop.core.supervisor import tick
from finetop.core.supervisor.queue import placement
from finetop.core.supervisor.requests import dispatch
from finetop.core.wording import jobs as words

found = {"code": main(["probe"]), "kind": of("probe").word}
still = still_at(Path(sys.argv[2]))
run_id = still.run("demo", (4,))
connection = still.supervisor.connection
job_id, _ = jobs.add_job(connection, run_id=run_id, verb="probe", args={"what": "rows"})
still.supervisor.touch()
(job,) = [job for job in jobs.queued(connection) if job.id == job_id]
found["on_cluster"] = placement.runs_on_cluster(still.supervisor, job)
row = runs.row(connection, run_id)
found["beside"] = [(other.verb, words.kept([other])) for other in row.side_jobs]
(shown,) = [job for job in runs.detail(connection, run_id).jobs if job.verb == "probe"]
found["shown"] = job_words(shown)
folder = still.home.root / job.folder
tick.make_folder(folder, still.home.runs, tick.spec_of(still.supervisor, job))
found["ran"] = run_job.run(folder)
found["last"] = json.loads((folder / "events.jsonl").read_text().splitlines()[-1])["e"]["cause"]
(probe,) = [request for request in wire.requests() if request.__name__ == "Probe"]
found["answer"] = asyncio.run(dispatch.answer(still.supervisor, probe())).text
print(json.dumps(found))
"""


def test_a_feature_from_outside_is_one_folder(tmp_path: Path) -> None:
    for name, text in FILES.items():
        file = tmp_path / "features" / "probe" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    rig = Path(__file__).parents[2] / "rig"
    done = call("-c", TRIAL, tmp_path / "features", tmp_path / "home", PYTHONPATH=str(rig))
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "code": 0,
        "kind": "probe",
        "on_cluster": False,
        "beside": [["probe", "It has not started."]],
        "shown": ["of rows"],
        "ran": 0,
        "last": "probed rows",
        "answer": "here",
    }
