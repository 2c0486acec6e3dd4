"""The database rebuilt from the run folders: row for row, whatever happened to the old one."""

import contextlib
import copy
import json
import os
import shutil
import signal
import time

import duckdb
import msgspec
import pytest
from drawn import few
from dumping import differences, dump
from exported_files import exported
from msgspec.structs import replace
from rig import load_recipe
from still import verdict
from store_rows import write
from waiting import wait_until

from finetop.core.commands.main import main
from finetop.core.errors import BadInput, EnvironmentTrouble, RecipeError, StoreTrouble
from finetop.core.features.approaches import sql as approaches
from finetop.core.features.approaches.messages import ApproachRun, SubmitApproaches
from finetop.core.features.export.messages import Export
from finetop.core.features.remedies.messages import Remedy
from finetop.core.features.triage import requests as triage
from finetop.core.features.triage.messages import SetStanding
from finetop.core.protocol import events, runs as data
from finetop.core.protocol.messages.checks import Check, Checks
from finetop.core.protocol.messages.queue import Hold, Kill, Prioritise, Queue, Release, Stop
from finetop.core.protocol.messages.runs import EventsSince, GetRun, Sql
from finetop.core.protocol.messages.submit import Import, Resume, Submit
from finetop.core.protocol.standing import Standing
from finetop.core.runtime.locks import take_lock
from finetop.core.store import backups, jobs, notes, parents, queue_order, run_list, run_records, runs
from finetop.core.store.database import open_store, transaction
from finetop.core.supervisor.__main__ import open_home
from finetop.core.supervisor.rebuild.rebuild import add_run, rebuild, wait_for_lock, was_never_queued
from finetop.core.supervisor.requests import resume


@pytest.fixture
def lived(rig, tmp_path):
    """A home with runs of every kind, whose supervisor has ended: a rebuild must restore its dump."""
    faq = tmp_path / "faq.jsonl"
    said = [{"role": "user", "content": "When?"}, {"role": "assistant", "content": "At 9."}]
    faq.write_text(json.dumps({"messages": said}) + "\n")
    plan = {"steps": 40, "saved": [10, 20, 30], "lost": 20, "best": 20, "reads": [str(faq)]}
    plan["refused"] = ["q4_k_m"]  # of its exports

    def ends(name, state="finished", **plan):
        rig.wait_state(rig.submit(name, **plan), state)

    ends("finished", check=True, **plan)
    wait_checked(rig, "finished", 1)
    # the second has no claim, as it is already used
    for number, ask in enumerate((Check("finished", 10), Check("finished", 30, general={"margin": 5.0})), 2):
        rig.ask(ask)
        wait_checked(rig, "finished", number)
    ends("spread", steps=30, saved=[10, 20], every=0.5, lost={"10": 0, "20": 30}, tells=15)
    rig.ask(Check("spread", 20))
    wait_checked(rig, "spread", 1)
    rig.ask(SetStanding("spread", "", Standing("looking", "ana", note="since when?")))
    rig.ask(Remedy("spread", only=["interpolate"]))
    rig.wait_job("spread", "remedy")
    rig.ask(Export("finished", str(tmp_path / "exported"), quants="q4_k_m"))
    rig.wait_job("finished", "export")
    ends("resumed", "failed", steps=30, saved=[10, 20], end="die", once=True)
    rig.ask(Check("resumed", 20))
    wait_checked(rig, "resumed", 1)
    rig.ask(Resume("resumed", step=10, anyway=True))
    rig.wait_state("resumed", "finished")
    ends("garbled", steps=30, garbage=True)
    ends("broken", "failed", steps=3, end="crash")
    folder = tmp_path / "made-elsewhere"
    folder.mkdir()
    rig.ask(Import(rig_recipe(data.IMPORTED, steps=3), "recipe: 1\n", "adopted", str(folder), [3]))
    rig.wait_state("adopted", "finished")
    run = ApproachRun("compared", "prompt", 1, rig_recipe(data.NO_WEIGHT, f1=[0.5]), "d" * 64)
    rig.ask(SubmitApproaches("kb", "s", "token_f1", [run], {"lora": "no rows"}, "recipe: 1\n"))
    rig.wait_state("compared", "finished")
    ends("blocker", "running", steps=5000, pause_s=0.05)
    child(rig, "child", "finished", 30)
    rig.submit("waits", steps=3)
    rig.ask(Stop(rig.submit("cancelled", steps=3)))
    rig.ask(Kill("blocker"))
    rig.ask(Stop("waits"))
    rig.wait_state("blocker", "stopped")
    rig.wait_state("child", "finished")
    ends("last", "running", steps=50_000, pause_s=0.05)
    rig.submit("queued", steps=3)
    child(rig, "grandchild", "queued", None)
    rig.ask(Prioritise("queued", 5))
    rig.ask(Hold("queued"))
    rig.ask(Hold())
    hold(rig, "last", signal.SIGSTOP)
    rig.shut_down()
    yield rig, dump(rig.home.database)
    hold(rig, "last", signal.SIGCONT)


def hold(rig, name, number):
    """Stop a job as it is, with all that it wrote ingested; or let it go on."""
    folder = next(rig.home.runs.glob(f"*-{name}/jobs/*"))
    with contextlib.suppress(ProcessLookupError):
        os.kill(json.loads((folder / "keeper.json").read_text())["job_pid"], number)
    query = f"SELECT j.bytes_read FROM jobs j JOIN runs r ON r.id = run_id WHERE name = '{name}'"
    if number == signal.SIGSTOP:
        written = folder / "events.jsonl"
        wait_until(lambda: rig.ask(Sql(query)).rows == [[written.stat().st_size]], lambda: rig.about(name))


def wait_checked(rig, name, count):
    wait_until(
        lambda: len(rig.ask(Checks(name)).checks) >= count and not rig.ask(GetRun(name)).row.checking,
        lambda: rig.about(name),
    )


def child(rig, name, parent, step):
    recipe = rig_recipe("sft", steps=3)
    reference = f"run:{parent}" + ("" if step is None else f"@{step}")
    rig.ask(Submit({**recipe, "model": {**recipe["model"], "id": reference}}, "recipe: 1\n", name))


def rig_recipe(objective, **plan):
    resolved = load_recipe().resolved
    method, objective = {**resolved["method"], "name": "lora"}, {**resolved["objective"], "name": objective}
    return {**resolved, "about": json.dumps(plan), "method": method, "objective": objective}


@pytest.mark.slow
def test_every_row_of_a_home_that_lived_comes_back_and_the_old_database_is_kept(lived):
    rig, before = lived
    assert {table for table, rows in before.items() if not rows} == {"cleaned", "removed"}, "a poor test"
    assert len(before["runs"]) == 14
    old = rig.home.database.read_bytes()
    rebuilt = rebuild(rig.home)
    assert rebuilt.left_out == []
    assert differences(before, dump(rig.home.database)) == []
    assert (rig.home.root / rebuilt.kept_as).read_bytes() == old
    again = rebuild(rig.home)
    assert differences(before, dump(rig.home.database)) == []
    assert again.kept_as != ""
    goes_on_from_there(rig)
    says_what_is_wrong_in_words(rig, before)


def goes_on_from_there(rig):
    """The new database is as good as the old: the queue goes on, and the next run gets a new id."""
    rig.up()
    assert rig.ask(GetRun("last")).jobs[0].attempt == 1
    hold(rig, "last", signal.SIGCONT)
    rig.ask(Kill("last"))
    rig.wait_state("last", "stopped")
    assert rig.ask(Queue()).stopped == "the queue is held"
    rig.ask(Release())
    assert rig.ask(GetRun("queued")).row.state.because == "held"
    rig.ask(Release("queued"))
    rig.wait_state("queued", "finished")
    rig.wait_state(rig.submit("newest", steps=1), "finished")
    rows = rig.ask(Sql("SELECT count(*), count(DISTINCT id) FROM runs")).rows
    assert rows == [[15, 15]]
    rig.wait_state("grandchild", "finished")
    rig.shut_down()


def says_what_is_wrong_in_words(rig, before):
    """Missing, empty, cut: refused with the command that helps, by the supervisor and by every client."""
    home = rig.home
    whole, after = home.database.read_bytes(), dump(home.database)
    for damage in (None, b"", whole[: len(whole) // 3], whole[:5000], b"\0" * len(whole)):
        backups.wal_of(home.database).unlink(missing_ok=True)
        home.database.unlink(missing_ok=True)
        if damage is not None:
            home.database.write_bytes(damage)
        with pytest.raises(StoreTrouble, match="finetop rebuild"):
            open_home(home)
    assert main(["--home", str(home.root), "rebuild"]) == 0
    assert differences(after, dump(home.database)) == []


@pytest.mark.slow
def test_a_lost_wal_is_noticed_and_what_it_held_comes_back(cold_rig):
    cold_rig.up()
    cold_rig.wait_state(cold_rig.submit("first", steps=20), "finished")
    cold_rig.shut_down()
    cold_rig.up()
    cold_rig.wait_state(cold_rig.submit("second", steps=20), "finished")
    cold_rig.kill()
    wal = backups.wal_of(cold_rig.home.database)
    assert wal.stat().st_size > 0
    kept = wal.read_bytes()
    wal.unlink()
    with pytest.raises(StoreTrouble, match=r"older than the run folders.*finetop rebuild"):
        open_home(cold_rig.home)
    rebuild(cold_rig.home)
    after = dump(cold_rig.home.database)
    assert [row[1] for row in after["runs"]] == ["first", "second"]
    shutil.copy(next(cold_rig.home.root.glob("*.before-rebuild-*")), cold_rig.home.database)
    wal.write_bytes(kept)
    assert differences(dump(cold_rig.home.database), after) == []


@pytest.mark.slow
def test_a_rebuild_while_a_job_runs_leaves_it_alone_and_adopts_it(cold_rig, capsys):
    cold_rig.up()
    name = cold_rig.submit(steps=400, pause_s=0.02, waits_at=200)
    cold_rig.wait_state(name, "running")
    assert main(["--home", str(cold_rig.home.root), "rebuild"]) == 0
    assert "1 runs, 1 jobs" in capsys.readouterr().out
    cold_rig.up()
    (cold_rig.job_folder(name) / "go").touch()
    assert cold_rig.wait_state(name, "finished").step == 400
    detail = cold_rig.ask(GetRun(name))
    assert detail.jobs[0].attempt == 1
    steps = cold_rig.ask(EventsSince(name)).steps
    assert [step.step for step in steps] == list(range(1, 401))


@pytest.mark.slow
def test_a_run_folder_that_can_not_be_used_is_left_out_in_words(quiet, capsys):
    for name in ("good", "torn", "older", "moved", "half", "newer"):
        quiet.run(name)
    quiet.close()
    runs = quiet.home.runs

    def told(name):
        return json.loads((runs / name / "run.json").read_text())

    (runs / "0002-torn" / "run.json").write_text("{")
    (runs / "0003-older" / "run.json").write_text(json.dumps({**told("0003-older"), "format": 1}))
    (runs / "0004-moved").rename(runs / "0009-moved")
    make_newer(runs / "0006-newer" / "run.json", run_records.FORMAT)
    half = {key: value for key, value in told("0005-half").items() if key != "store"}
    (runs / "0005-half" / "run.json").write_text(json.dumps(half))
    assert main(["--home", str(quiet.home.root), "rebuild", "--json"]) == 1
    made = json.loads(capsys.readouterr().out)
    assert made["runs"] == 1
    assert [line.partition(":")[2].strip()[:33] for line in sorted(made["left_out"])] == [
        "its run.json can't be read (Input",
        "its run.json has format 1; this f",
        "it was never queued: finetop was ",
        "its run.json has format 3; this f",
        "its run.json belongs to run 4.",
    ]
    quiet.open()
    assert quiet.run("new") == 10, "a folder that is left out keeps its number"


def newer(home, part):
    """Let a part of a home be of a newer finetop."""
    if part == "database":
        with contextlib.closing(duckdb.connect(str(home.database))) as connection:
            connection.execute("INSERT INTO migrations VALUES ('9999_tomorrow.sql', 1)")
        return
    make_newer(home.root / part, run_records.STORE_FORMAT)


def make_newer(file, known):
    """Let a record be of the format after the newest that is known."""
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": known + 1}))


def contents(home):
    return {file: file.read_bytes() for file in home.root.rglob("*") if file.is_file()}


def test_a_home_of_a_newer_finetop_is_refused_and_nothing_is_changed(quiet, capsys):
    quiet.run("one")
    quiet.close()
    sound = contents(quiet.home)
    for part in ("database", "store.json"):
        newer(quiet.home, part)
        before = contents(quiet.home)
        with pytest.raises(
            BadInput, match=r"was written by a newer finetop \(.*nothing was changed"
        ) as caught:
            rebuild(quiet.home)
        assert "Rebuild with that version" in caught.value.hint
        assert contents(quiet.home) == before
        if part == "database":
            assert main(["--home", str(quiet.home.root), "rebuild"]) == 2
            said = capsys.readouterr().err
            assert said.startswith(f"finetop: {caught.value.message}") and said.count("\n") == 1
            after = contents(quiet.home)
            assert {file.name for file in after.keys() - before.keys()} <= {"supervisor.lock", "finetop-home"}
            assert {file: after[file] for file in before} == before
        for file, content in sound.items():
            file.write_bytes(content)


def test_an_attempt_that_said_nothing_yet_has_not_the_last_one_s_end(quiet):
    quiet.run("one")
    quiet.close()
    folder = next(quiet.home.runs.glob("*/jobs/*"))
    file = next(quiet.home.runs.glob("*/run.json"))
    messages = json.loads(file.read_text())
    messages["store"]["jobs"][0]["attempt"] = 2
    live = msgspec.to_builtins(data.Running(since=time.time(), phase=data.STARTING))
    messages["store"]["jobs"][0]["state"] = messages["store"]["run"]["state"] = live
    file.write_text(json.dumps(messages))
    for phase in (data.STARTING, "training"):
        rebuild(quiet.home)
        with contextlib.closing(open_store(quiet.home.database)) as connection:
            word, state = connection.execute("SELECT ended_word, state FROM jobs").fetchone()
        assert (word, json.loads(state)["phase"]) == (None, phase)
        started = events.Started(1, 2, 1, "cpu", "float32", {})
        write(folder / "events.jsonl", started, events.Phase("training"))


def test_taking_a_run_in_is_all_or_nothing_and_every_table_has_its_way_back(quiet, monkeypatch):
    """A new table must come from events, be recorded with its run, or be kept in store.json."""
    connection = quiet.supervisor.connection
    quiet.run("one", (1, 2))
    connection.execute("CREATE TABLE of_a_run (run_id INTEGER, a VARCHAR); CREATE TABLE of_none (b INTEGER)")
    schema = run_records.schema_of(connection)
    assert "of_a_run" in run_records.kept_tables(schema) and "of_none" in run_records.global_tables(schema)
    quiet.close()
    fresh = open_store(quiet.home.root / "other.duckdb")
    monkeypatch.setattr("finetop.core.supervisor.rebuild.rebuild._finish", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        add_run(fresh, quiet.home, next(quiet.home.runs.iterdir()))
    for table in ("runs", "jobs", "metrics"):
        assert fresh.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    fresh.close()


def test_a_running_supervisor_is_never_rebuilt_under(quiet, monkeypatch):
    monkeypatch.setattr("finetop.core.supervisor.rebuild.rebuild.LOCK_WAIT_S", 0.1)
    held = take_lock(quiet.home)
    with pytest.raises(EnvironmentTrouble, match="finetop supervisor stop"):
        wait_for_lock(quiet.home)
    os.close(held)


@pytest.mark.slow
def test_every_row_comes_back(quiet):
    """A small version, with one of each kind; the full life of a home is in the slow test above."""
    finished = data.Finished(since=1.0, ended=2.0)
    start = events.Started(1, 1, 1, "cpu", "float32", {"torch": "2"})
    one = quiet.run("one", (1, 2, 3), losses={1: 0.3, 2: 0.2, 3: 0.1}, best=2)
    score = events.Scores("tuned", "key", "task", [events.ItemScore("i1", 1.0, "a", -0.1)])
    for step, claim, lost in ((2, 0, 0), (3, 2, 40)):
        quiet.job(one, "check", [start, score, events.Verdict(step, verdict(lost, step=step, claim=claim)),
                                 events.Ended("finished")], finished, step=step, claim=claim)  # fmt: skip
    again = [start, events.Resumed(1), events.metrics(2, {"loss": 0.1, "x": float("nan")}),
             events.DataRead("a.jsonl", 1, 1, 0, 0, 1, 1, "0"), events.FirstRow([("a", True)]),
             events.SourceRead(source="a.jsonl", path="/a.jsonl", use="train", rows=1, content="0" * 64),
             events.Alarm("spike", 2, "high"), events.Sample(2, 0, "a", "b"),
             events.Verdict(2, verdict(30, step=2, claim=3)), events.Planned(9, 1.0, 1, 0, 1, 1, 1),
             events.Ended("failed", "bad data", "row 1", 2)]  # fmt: skip
    quiet.job(one, "train", again, data.Failed(2.0, "bad data", "row 1", 1.0, 2), resume={"step": 1})
    prune = {"step": 1, "name": "prune-small", "verdict": "ok", "reason": "so"}
    fixed = events.RemedyTried(**prune, remedy="prune", label="x", made_of=1, target={"nats_per_token": 1.0},
                                gain=0.9, drop=0.01, interval=(0.0, 0.02))  # fmt: skip
    fine = events.RemedyConfirmed(**prune, drop=0.0, alpha=0.005)
    quiet.job(one, "remedy", [start, fixed, fine, events.Ended("finished")], finished, step=1)
    rows = {"token_f1": [events.RowScore("0", 0.5, 1.0, "a")]}
    measured = events.ApproachMeasured(approach="lora", step=1, scores=rows, prompt_tokens=9.0)
    quiet.job(one, "measure", [start, measured, events.Ended("finished")], finished, step=1)
    files = [
        events.ExportJudged(replace(exported(), step=1, name=name)) for name in ("a.gguf", "b", "a.gguf")
    ]
    quiet.job(one, "export", [start, *files, events.Ended("finished")], finished, step=1)
    with transaction(quiet.supervisor.connection):
        kb = approaches.Comparison("kb", 1.0, "s", "token_f1", {"qlora": "why"})
        approaches.store_comparison(quiet.supervisor.connection, kb)
        member = approaches.Member(one, "lora", 1, False)
        approaches.add_member(quiet.supervisor.connection, "kb", member, "d" * 64)
    quiet.run("child", (5,), model="run:one@1")
    looked_at = Standing("looking", "ana", note="since when?")
    triage.set_standing(quiet.supervisor, SetStanding("one", "", looked_at))
    quiet.queue("waits", model="run:one@1")
    with transaction(quiet.supervisor.connection):
        queue_order.hold_all(quiet.supervisor.connection, held=True)
    quiet.close()
    before = dump(quiet.home.database)
    assert {table for table, rows in before.items() if not rows} == {"cleaned", "removed"}, "a poor test"
    assert len(before["checks"]) == 3
    assert {row[9] for row in before["checks"]} == {True, False}, "none was set aside"
    assert rebuild(quiet.home).left_out == []
    assert differences(before, dump(quiet.home.database)) == []


# Replacements of each value of a run.json; GONE: the field is missing.
GONE = object()
MUTATIONS = (GONE, None, "x", 3, 10**30, -1, 1e300, [[[]]], {"a": {"b": 1}}, "a\0b", "../../..")


def fields_of(value, path=()):
    """Yield every field of a JSON value, in mappings and lists."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner_value in inner:
        yield (*path, key)
        yield from fields_of(inner_value, (*path, key))


def damaged(told, path, value):
    """The record with one field changed or missing."""
    told = copy.deepcopy(told)
    place = told
    for name in path[:-1]:
        place = place[name]
    if value is GONE:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return told


def as_run(told, number):
    """The record of a run under another id, with jobs and checks of its own."""
    told = copy.deepcopy(told)
    store = told["store"]
    told["id"] = store["run"]["id"] = number
    told["name"] = store["run"]["name"] = f"good-{number}"
    for job in store["jobs"]:
        job["id"] += 10 * number
        job["run_id"], job["folder"] = number, f"jobs/{job['id']:04d}-{job['verb']}"
    store["checks"] = [[number, store["jobs"][1]["id"], 2, False]]
    for row in [row for rows in store["tables"].values() for row in rows]:
        row["run_id"] = number
    return told


def two_sound_runs(quiet):
    """Two sound runs far from each other, and the record of a third with something everywhere."""
    connection = quiet.supervisor.connection
    start, end = events.Started(1, 1, 1, "cpu", "float32", {}), events.Ended("finished")
    state = data.Finished(since=1.0, ended=2.0)
    for name in ("first", "good", "last"):
        if name == "last":
            numbers = "('runs', 9999), ('jobs', 999999), ('checks', 9999)"
            connection.execute(f"INSERT INTO removed VALUES {numbers}")
        event_rows = [start, events.Verdict(2, verdict(30, step=2)), end]
        quiet.job(quiet.run(name, (1, 2)), "check", event_rows, state, step=2)
    looked_at = Standing("looking", "ana", note="since when?")
    triage.set_standing(quiet.supervisor, SetStanding("good", "", looked_at))
    with transaction(connection):
        approaches.add_member(connection, "kb", approaches.Member(2, "lora", 1, False), "d" * 64)
        parents.add(connection, 2, [parents.Parent(1, "model.id", 2)])
        notes.set_tags(connection, 2, ["keep", "sweep/a"])
        share = data.Share("u", 0, "H100", None)
        undo = data.Before(state, 3)
        connection.execute(
            "UPDATE jobs SET gpus = ?, undo = ?, place = 1.5, not_before = 7 WHERE run_id = 2 AND verb = 'train'",
            [msgspec.json.encode([share]).decode(), msgspec.json.encode(undo).decode()],
        )
        run_records.mark_run(connection, 2)
    quiet.close()
    return json.loads((quiet.home.runs / "0002-good" / "run.json").read_text())


def rebuild_beside(quiet, told, mutations):
    """Rebuild with a run for each mutation between the sound ones. Return what was left out, by folder."""
    for number, (path, value) in enumerate(mutations, 10):
        folder = quiet.home.runs / f"{number:04d}-good-{number}"
        folder.mkdir()
        record = damaged(as_run(told, number), path, value)
        (folder / "run.json").write_text(json.dumps(record))
    written = {file: file.read_bytes() for file in quiet.home.runs.glob("*/run.json")}
    rebuilt = rebuild(quiet.home)
    assert {file: file.read_bytes() for file in written} == written
    assert rebuilt.runs + len(rebuilt.left_out) == len(written)
    return dict(line.split(": ", 1) for line in rebuilt.left_out)


def of_sound_runs(dumped):
    tables = ("runs", "metrics", "checkpoints", "triage", "parents", "approaches")
    place = {**dict.fromkeys(tables, 0), "jobs": 1, "checks": 1}  # the column with the run's id
    return {table: [row for row in dumped[table] if row[at] in (1, 2, 10_000)] for table, at in place.items()}


def page(connection, filter, limit):
    return run_list.page(
        connection, filter=filter, sort="newest", offset=0, limit=limit, revision=1, now=time.time()
    )


def list_everything(quiet):
    """List every run and show some, as `ls`, `queue` and the app do, and read the queue as a beat does."""
    quiet.open()
    connection = quiet.supervisor.connection
    numbers = [number for (number,) in connection.execute("SELECT id FROM runs ORDER BY id").fetchall()]
    for filter in ("", "tag=keep", "sweep/a"):
        page(connection, filter, 10**4)
    for number in numbers[::5]:
        json.loads(msgspec.json.encode(runs.detail(connection, number)))
        run_records.record_of(connection, number, run_records.schema_of(connection))
    jobs.waiting_line(connection)
    jobs.live(connection)
    connection.close()


@pytest.mark.parametrize(
    "part", [pytest.param(0, id="some"), pytest.param(None, id="drawn", marks=pytest.mark.slow)]
)
def test_whatever_is_damaged_in_a_run_json_the_others_come_back(quiet, part):
    told = two_sound_runs(quiet)
    fields = [path for path in fields_of(told) if path[0] != "recipe" or len(path) < 3]
    every = [(path, value) for path in fields for value in MUTATIONS]
    assert len(every) > 700, "a poor test"
    before = of_sound_runs(dump(quiet.home.database))
    left_out = rebuild_beside(quiet, told, few(every, 200) if part is None else every[part::23])
    assert of_sound_runs(dump(quiet.home.database)) == before
    says = ("run.json", "its run.json ", "it was never queued")
    assert [line for line in left_out.values() if not line.startswith(says)] == []
    assert len(left_out) > 10
    list_everything(quiet)


NAMED = [
    (("store", "jobs", 0, "folder"), "../../../etc", "store.jobs[0].folder is '../../../etc' (job "),
    (("store", "jobs", 0, "folder"), "/etc", "store.jobs[0].folder is '/etc' (job "),
    (("store", "jobs", 1, "attempt"), "two", "store.jobs[1].attempt is 'two' (Expected `int`, got `str`)"),
    (("store", "jobs", 1, "id"), 1, "store.jobs[1].folder is 'jobs/"),
    (("store", "jobs", 0, "run_id"), 1, "store.jobs[0].run_id is 1 (the run is 14)"),
    (("store", "run", "created"), 1e300, "store.run.created is 1e+300 (Expected `float` <="),
    (("store", "run", "tags"), "keep", "store.run.tags is 'keep' (JSON is malformed"),
    (("store", "run", "tags"), "[1]", "store.run.tags[0] is 1 (Expected `str`"),
    (("store", "run", "name"), "../x", "store.run.name is '../x' (not a run's name)"),
    (("store", "run", "state"), {"type": "?"}, "store.run.state.type is '?' (Invalid value '?')"),
    (("store", "checks", 0, 1), 1, "store.checks[0][1] is 1 (the run has no such job)"),
    (("store", "tables", "triage", 0, "state"), "sad", "store.tables.triage[0].state is 'sad' (Inval"),
    (("recipe", "model"), None, "recipe.model is null (Expected `object`"),
]


@pytest.mark.slow
def test_what_is_damaged_is_named_with_its_place_and_its_value_and_costs_itself_alone(quiet, tmp_path):
    told = two_sound_runs(quiet)
    file = quiet.home.root / run_records.STORE
    sound = file.read_text()
    whole = json.loads(sound)
    whole["tables"]["removed"].append({"what": "runs", "highest": 10**40})
    file.write_text(json.dumps({**whole, "number": 10**40}))
    rebuilt = rebuild(quiet.home)
    assert (rebuilt.runs, [line.partition(" (")[0] for line in rebuilt.left_out]) == (
        3, [f"store.json: tables.removed[3].highest is {10**40}"])  # fmt: skip
    for broken in ("[]", "{", '{"tables": {"removed": 3}}'):
        file.write_text(broken)
        rebuilt = rebuild(quiet.home)
        assert (rebuilt.runs, len(rebuilt.left_out)) == (3, 1)
        assert rebuilt.left_out[0].startswith("store.json: it can't be read (")
    file.write_text(sound)
    jobs_folder = quiet.home.runs / "0002-good" / "jobs"
    jobs_folder.rename(tmp_path / "elsewhere")
    jobs_folder.symlink_to(tmp_path / "elsewhere")
    rebuilt = rebuild(quiet.home)
    assert rebuilt.runs == 2
    assert "a link leads out of the run's folder" in rebuilt.left_out[0]
    jobs_folder.unlink()
    (tmp_path / "elsewhere").rename(jobs_folder)
    left_out = rebuild_beside(quiet, told, [(path, value) for path, value, _ in NAMED])
    for number, (_, _, words) in enumerate(NAMED, 10):
        assert left_out[f"{number:04d}-good-{number}"].startswith(f"run.json: {words}")


def test_no_job_trains_by_a_recipe_that_breaks_a_rule(quiet):
    """Jobs only convert their recipe: one that waits is left out, and one that has ended does not go on."""
    quiet.run("ended", (1, 2))
    quiet.queue("waits")
    quiet.close()
    for file in sorted(quiet.home.runs.glob("*/run.json")):
        told = json.loads(file.read_text())
        told["recipe"]["model"]["quantize"], told["recipe"]["method"] = "nf4", {"name": "full"}
        file.write_text(json.dumps(told))
    made = rebuild(quiet.home)
    assert made.runs == 1
    assert "run.json: the recipe: model.quantize: full does not work with nf4 weights" in made.left_out[0]
    quiet.open()
    with pytest.raises(RecipeError, match="full does not work with nf4 weights"):
        resume.resume(quiet.supervisor, Resume("ended"))


def test_a_damaged_folder_is_never_taken_for_one_that_was_never_queued(quiet):
    folder = quiet.home.runs / "0001-one"
    folder.mkdir()
    (folder / "recipe.yaml").write_text("recipe: 1\n")
    for text, is_half_made in {'{"id": 1}': True, "[]": False, '"x"': False, "{": False, "3": False}.items():
        (folder / "run.json").write_text(text)
        assert was_never_queued(folder) == is_half_made, text


def test_tags_that_are_damaged_hide_no_run(quiet):
    """As an older rebuild made it: the run is listed without tags, and can get new ones."""
    quiet.run("one")
    connection = quiet.supervisor.connection
    for tags in ("", "keep", '{"a": 1}', "3", "null", "[1]", '["keep'):
        connection.execute("UPDATE runs SET tags = ?", [tags])
        for filter, shown in (("", 1), ("tag:keep", 0), ("one", 1), ("-tag:x", 1)):
            assert [row.tags for row in page(connection, filter, 9).rows] == [[]] * shown, (tags, filter)
        assert notes.tags_of(connection, 1) == []
        assert runs.detail(connection, 1).row.name == "one"
