"""`--on HOST`: the commands on other machines, over a stand-in for ssh."""

import itertools
import json
import os
import subprocess
import sys

import pytest
from rig import Rig, write_recipe
from typed import loaded_by, refuses
from waiting import wait_until

from finetop.core.protocol.messages.queue import Hold, Release, Stop
from finetop.core.runtime.home import find_home

NUMBERS = itertools.count(1)
BOTH = ("--on", "ana@lab", "--on", "box")


@pytest.fixture
def finetop(hosts, command):
    """Run one command in this process."""
    hosts.host("ana@lab")
    hosts.host("box")
    return command


@pytest.fixture
def recipe(tmp_path):
    return write_recipe(tmp_path, "mine", steps=6)


@pytest.mark.slow
def test_the_same_commands_tell_the_same_of_a_run_elsewhere(finetop, hosts, recipe):
    code, out, err = finetop("run", str(recipe), "--wait", "--on", "ana@lab")
    assert (code, "step 6/6" in out, err) == (0, True, "")
    code, out, _ = finetop("--on", "ana@lab", "ls")
    assert (code, "mine" in out, "6/6" in out) == (0, True, True)
    code, out, _ = finetop("tail", "mine", "--on=ana@lab", "-n", "2", "--json")
    assert [json.loads(line)["step"]["step"] for line in out.splitlines()] == [5, 6]
    code, out, _ = finetop("show", "mine", "--on", "ana@lab")
    assert (code, "step       6 of 6" in out) == (0, True)
    assert f"folder     lab:{hosts.rigs['ana@lab'].home.root}/runs/" in out
    code, out, _ = finetop("supervisor", "status", "--on", "ana@lab", "--json")
    assert json.loads(out)["supervisor"]["home"] == str(hosts.rigs["ana@lab"].home.root)
    wait_until(lambda: not hosts.living(), "no ssh is left behind")


def test_what_the_job_there_would_refuse_is_refused_before_it_is_queued(finetop, hosts, tmp_path, recipe):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n{"prompt": "a"}\n')
    before = finetop("--on", "ana@lab", "ls", "--json")[1].count('"name"')
    code, out, err = finetop("run", str(recipe), "--on", "ana@lab")
    assert (code, out) == (2, "") and "rows.jsonl:2: completion is missing." in err
    assert finetop("--on", "ana@lab", "ls", "--json")[1].count('"name"') == before
    code, out, err = finetop("run", str(recipe), "--on", "ana@lab", "--hold", "--force")
    assert code == 0 and "queued anyway; the job will fail with: rows.jsonl:2: completion is missing." in err
    hosts.rigs["ana@lab"].ask(Stop(out.split()[0]))  # other tests share the queue


@pytest.mark.slow
def test_several_machines_are_one_list_and_a_run_is_found_or_named(finetop, hosts):
    hosts.rigs["ana@lab"].submit("only-lab", steps=1)
    for destination in ("ana@lab", "box"):
        hosts.rigs[destination].wait_state(hosts.rigs[destination].submit("both", steps=1), "finished")
    code, out, _ = finetop(*BOTH, "ls")
    head, *rows = (line.split()[:2] for line in out.splitlines())
    assert (code, head) == (0, ["host", "run"])
    assert ["lab", "both"] in rows and ["box", "both"] in rows
    names = {row["name"]: row["host"] for row in json.loads(finetop(*BOTH, "ls", "--json")[1])["runs"]}
    assert names["box:both"] == "box"
    assert finetop(*BOTH, "show", "box:both")[1].startswith("both ")
    assert finetop(*BOTH, "show", "only-lab")[0] == 0
    cases = {
        "show both": "finetop: both is on lab and box. Say which: lab:both.\n",
        "stop nobody": "there is no run 'nobody' on lab and box",
        "sql 'SELECT 1'": "one machine at a time",
    }
    refuses(finetop, cases, *BOTH)
    hosts.rigs["ana@lab"].wait_state("only-lab", "finished")
    code, out, err = finetop(*BOTH, "rm", "box:both", "nobody", "only-lab", "--yes")
    assert (code, "no run 'nobody'" in err, "2 runs, " in out) == (2, True, True)
    assert finetop(*BOTH, "show", "both")[0] == 0, "lab's run of that name is left"
    assert finetop(*BOTH, "show", "only-lab")[0] == 2


def test_one_of_several_that_is_away_is_said_and_the_others_are_listed(finetop, hosts):
    hosts.rigs["box"].submit("near", steps=1)
    hosts.behave("ana@lab", "refused")
    code, out, err = finetop("ls", *BOTH)
    assert (code, "near" in out) == (4, True)
    assert "can't reach lab: ssh: connect to host ana@lab port 22: Connection refused." in err
    hosts.behave("box", "refused")
    assert finetop("ls", *BOTH)[:2] == (4, "")


@pytest.fixture
def q(hosts, finetop):
    """Two machines with held queues: lab with Q-a and Q-both, box with Q-both (held itself) and Q-b. Returns Q."""
    q = f"q{next(NUMBERS)}"
    homes_made = []
    for destination, names in (("ana@lab", ("a", "both")), ("box", ("b", "both"))):
        rig = hosts.rigs[destination]
        rig.ask(Hold())
        homes_made += [(rig, rig.submit(f"{q}-{name}")) for name in names]
    hosts.rigs["box"].ask(Hold(f"{q}-b"))
    yield q
    hosts.forget()
    for rig, name in homes_made:
        rig.ask(Stop(name))
    for rig in hosts.rigs.values():
        rig.ask(Release())


@pytest.mark.slow
def test_queues_of_several_machines_are_one_table_and_a_change_is_for_the_machine_of_its_run(finetop, q):
    code, out, err = finetop(*BOTH, "queue")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "Nothing starts on lab: the queue is held",
        "Nothing starts on box: the queue is held",
        "Running: nothing. Waiting, next to start first:",
        "host  #  run      what   wants  why it waits",
        f"lab   1  {q}-a     train  CPU    the queue is held",
        f"lab   2  {q}-both  train  CPU    the queue is held",
        f"box   1  {q}-both  train  CPU    the queue is held",
        f"box   2  {q}-b     train  CPU    held",
        f"next: finetop --on box queue release {q}-b",
    ]
    document = json.loads(finetop(*BOTH, "queue", "--json")[1])
    wanted = [("box", f"{q}-both"), ("box", f"{q}-b")]
    assert [(row["host"], row["run"]) for row in document["rows"]][2:] == wanted
    assert (document["stopped"]["lab"], document["total"]) == ("the queue is held", 4)
    assert "Nothing starts on lab: the queue is held.\n" in finetop(*BOTH, "ls")[1]
    assert finetop(*BOTH, "queue", "last", f"box:{q}-both")[1].startswith(f"{q}-both is last in the queue")
    assert f"{q}-b is now before {q}-both" in finetop(*BOTH, "queue", "before", f"{q}-b", f"box:{q}-both")[1]
    assert finetop("--on", "box", "queue", "before", f"box:{q}-both", f"box:{q}-b")[0] == 0
    assert finetop(*BOTH, "pause", f"{q}-a")[1].startswith(f"{q}-a is held.")
    assert finetop(*BOTH, "retry", f"{q}-a")[1].startswith(
        f"{q}-a resumes from the beginning: it has no checkpoint yet, place "
    )


def test_what_is_no_change_of_several_queues_is_one_line(finetop, q):
    cases = {
        f"queue first {q}-both": f"{q}-both is on lab and box. Say which: lab:{q}-both.\n",
        f"queue before {q}-a box:{q}-b": f"box:{q}-b is on another machine than lab:{q}-a, and each has a queue",
        "queue hold": "on which machine? Name one alone: finetop --on ana@lab queue hold.\n",
        "queue frist": "finetop queue has no action 'frist'. Did you mean first?\n",
        "queue last": "finetop queue last: which run?",
        f"pause {q}-both": f"{q}-both is on lab and box. Say which: lab:{q}-both.\n",
    }
    refuses(finetop, cases, *BOTH)


def test_a_run_that_may_be_on_a_machine_out_of_reach_is_not_taken_for_one_that_is_not(finetop, hosts, q):
    hosts.behave("ana@lab", "refused")
    code, out, err = finetop(*BOTH, "pause", f"{q}-both")
    may_have = f"{q}-both is on box, and lab may have one too, but can't be reached."
    assert (code, out, err.splitlines()[1]) == (2, "", f"finetop: {may_have} Say which: box:{q}-both.")
    code, out, err = finetop(*BOTH, "retry", f"{q}-a")
    assert (code, out, f"no run '{q}-a' on box, and lab can't be reached.\n" in err) == (4, "", True)
    code, out, err = finetop(*BOTH, "pause", f"lab:{q}-a")
    assert (code, out, "can't reach lab; nothing was done.\n" in err) == (4, "", True)
    code, out, err = finetop(*BOTH, "queue")
    assert (code, "lab " in out, f"box   1  {q}-both " in out) == (4, False, True)
    assert err.count("can't reach lab") == 1
    assert json.loads(finetop(*BOTH, "alarms", "--json")[1])["missing"] == ["lab"]


@pytest.mark.slow
def test_alarms_and_gpus_of_several_machines_say_whose_they_are(finetop, hosts):
    rig = hosts.rigs["box"]
    name = rig.submit("breaks", steps=1, end="failed")
    rig.wait_state(name, "failed")
    code, out, err = finetop(*BOTH, "alarms")
    assert (code, err) == (0, "")
    assert out.split()[:4] == ["host", "ago", "run", "kind"]
    *rows, lab, box = out.splitlines()[1:]
    assert ["box", name, "failed"] in [[line.split()[0], *line.split()[3:5]] for line in rows]
    assert lab.startswith("lab:") and box.startswith("box:")
    assert set(json.loads(finetop(*BOTH, "alarms", "--json")[1])["machines"]) == {"lab", "box"}
    code, out, _ = finetop(*BOTH, "alarms", "--test")
    assert (code, out.count("No notifications are set up: name a command")) == (2, 2)
    assert "spike" in finetop(*BOTH, "alarms", "--kinds")[1]
    code, out, _ = finetop(*BOTH, "gpus")
    lines = [line for line in out.splitlines() if not line.startswith("No GPU here")]
    assert (code, lines) == (0, ["lab", "", "box"])
    document = json.loads(finetop(*BOTH, "gpus", "--json")[1])
    assert (sorted(document["machines"]), document["missing"]) == (["box", "lab"], [])


def test_this_machine_stands_beside_others(finetop, hosts):
    rig = Rig(find_home())
    rig.up()
    try:
        rig.submit("mine-here", steps=1)
        code, out, _ = finetop("ls", "--on", ".", "--on", "box", "--json")
        document = json.loads(out)
        assert (code, document["missing"]) == (0, [])
        assert "here:mine-here" in [row["name"] for row in document["runs"]]
        assert finetop("show", "here:mine-here", "--on", ".", "--on", "box")[0] == 0
    finally:
        rig.stop_all()


def test_a_run_acts_where_it_is(finetop, hosts):
    rig = hosts.rigs["box"]
    rig.submit("long", waits_at=2)
    rig.wait_state("long", "running")
    assert finetop("kill", "long", "--on", "box")[:2] == (0, "long is being killed.\n")
    rig.wait_state("long", "stopped")
    assert finetop("kill", "long", "--on", "box")[0] == 1


def test_a_curve_over_a_link_looks_at_checkpoints_there(finetop, hosts):
    rig = hosts.rigs["box"]
    rig.wait_state(rig.submit("curved", steps=20, saved=[10, 20], lost=0), "finished")
    code, out, err = finetop("check", "curved", "--curve", "--on", "box")
    assert (code, "step 20" in out, err) == (0, True, "")


@pytest.mark.slow
def test_a_tail_goes_on_over_a_dropped_link(hosts, finetop):
    rig = hosts.rigs["box"]
    rig.submit("tailed", steps=60, waits_at=31)
    rig.wait_state("tailed", "running")
    tail = subprocess.Popen(
        [sys.executable, "-m", "finetop.tui.main", "--on", "box", "tail", "tailed", "--json", "-n", "99"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    assert tail.stdout is not None and tail.stderr is not None
    with tail:
        before = tail.stdout.readline()
        hosts.drop("box")
        stderr_lines = [tail.stderr.readline(), tail.stderr.readline()]
        (rig.job_folder("tailed") / "go").touch()  # the second half comes after the drop
        # communicate() would miss what readline() has already buffered
        rest, err = tail.stdout.read(), tail.stderr.read()
    steps = [json.loads(line)["step"]["step"] for line in (before + rest).splitlines()]
    assert steps == list(range(1, 61))
    assert stderr_lines[0].startswith("finetop: can't reach box (")
    assert [*stderr_lines[1:], err] == ["finetop: box is back.\n", ""]
    assert tail.returncode == 0
    wait_until(lambda: not hosts.living(), "no ssh is left behind")


def test_what_can_not_be_is_one_line_with_its_exit_code(finetop, hosts):
    rig = hosts.rigs["box"]
    rig.wait_state(rig.submit("x", steps=1), "finished")
    cases = {
        "--on -oProxyCommand=id ls": "is not a host",
        "ls --on=-oProxyCommand=id": "is not a host",
        "--on nowhere --on nowhere ls": "is given twice",
        "--on": "--on: a value is missing",
        "doctor --on box": "Run it there: ssh box finetop doctor",
        "import /x --on box": "Run it there: ssh box finetop import",
        "run lora --on ana@lab --on box": "one machine at a time",
        "run lora --on box --set 'data.train=[{path: /no.jsonl}]'": "box has no /no.jsonl",
        "export x --on box --to here": "its whole path there",
        "check --model /x --on box": "is a folder on this machine",
        "ls --remote-command x": "works only with --on",
    }
    refuses(finetop, cases)
    cases = {
        "--remote-command no-such-program-here": "box: its shell does not find finetop",
        "--home /proc/finetop": "box: can't make the home folder /proc/finetop",
    }
    refuses(finetop, cases, "ls", "--on", "box", code=4)


def test_ls_elsewhere_loads_nothing_heavy(finetop, hosts):
    assert loaded_by("ls", "--on", "box", first="sys.modules.update(numpy=None, yaml=None)") == (0, [])
