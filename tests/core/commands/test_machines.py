"""`--on HOST`: the commands on other machines, over a stand-in for ssh."""

import json
import os
import subprocess
import sys

import pytest
from hosts import wait_until
from rig import Rig

from finetop.core.commands.main import main
from finetop.core.home import find_home


@pytest.fixture
def finetop(hosts, capfd):
    """Run one command in this process: (exit code, stdout, stderr)."""
    hosts.host("ana@lab")
    hosts.host("box")

    def run(*words):
        code = main(list(words))
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 5)
    path = tmp_path / "mine.yaml"
    plan = json.dumps(json.dumps({"steps": 6}))
    path.write_text(
        "recipe: 1\nextends: lora\nname: mine\ncheck: {at_end: false}\n"
        f"about: {plan}\ndata: {{train: [{{path: rows.jsonl}}]}}\n"
    )
    return path


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


def test_several_machines_are_one_list_and_a_run_is_found_or_named(finetop, hosts):
    hosts.rigs["ana@lab"].submit("only-lab", steps=1)
    for destination in ("ana@lab", "box"):
        hosts.rigs[destination].wait_state(hosts.rigs[destination].submit("both", steps=1), "finished")
    both = ("--on", "ana@lab", "--on", "box")
    code, out, _ = finetop(*both, "ls")
    rows = [line.split()[:2] for line in out.splitlines()[1:]]
    assert code == 0
    assert out.split()[:2] == ["host", "run"]
    assert ["lab", "both"] in rows
    assert ["box", "both"] in rows
    code, out, _ = finetop(*both, "ls", "--json")
    names = {row["name"]: row["host"] for row in json.loads(out)["runs"]}
    assert names["box:both"] == "box"
    assert finetop(*both, "show", "box:both")[1].startswith("both ")
    assert finetop(*both, "show", "only-lab")[0] == 0
    code, _, err = finetop(*both, "show", "both")
    assert (code, err) == (2, "finetop: both is on lab and box. Say which: lab:both.\n")
    code, _, err = finetop(*both, "stop", "nobody")
    assert (code, "there is no run 'nobody' on lab and box" in err) == (2, True)
    code, _, err = finetop(*both, "sql", "SELECT 1")
    assert (code, "one machine at a time" in err) == (2, True)


def test_one_of_several_that_is_away_is_said_and_the_others_are_listed(finetop, hosts):
    hosts.rigs["box"].submit("near", steps=1)
    hosts.behave("ana@lab", "refused")
    code, out, err = finetop("ls", "--on", "ana@lab", "--on", "box")
    assert code == 4
    assert "near" in out
    assert "lab is out of reach: ssh: connect to host ana@lab port 22: Connection refused." in err
    hosts.behave("box", "refused")
    code, out, err = finetop("ls", "--on", "ana@lab", "--on", "box")
    assert (code, out) == (4, "")


def test_this_machine_stands_beside_others(finetop, hosts):
    rig = Rig(find_home())
    rig.start()
    rig.wait_ready()
    try:
        rig.submit("mine-here", steps=1)
        code, out, _ = finetop("ls", "--on", ".", "--on", "box", "--json")
        assert code == 0
        assert json.loads(out)["missing"] == []
        assert "here:mine-here" in [row["name"] for row in json.loads(out)["runs"]]
        assert finetop("show", "here:mine-here", "--on", ".", "--on", "box")[0] == 0
    finally:
        rig.stop_all()


def test_a_run_acts_where_it_is(finetop, hosts):
    rig = hosts.rigs["box"]
    rig.submit("long", steps=5000, pause_s=0.02)
    rig.wait_state("long", "running")
    assert finetop("kill", "long", "--on", "box")[:2] == (0, "long is being killed.\n")
    rig.wait_state("long", "stopped")
    assert finetop("kill", "long", "--on", "box")[0] == 1


def test_a_curve_over_a_link_looks_at_checkpoints_there(finetop, hosts):
    rig = hosts.rigs["box"]
    rig.wait_state(rig.submit("curved", steps=20, saved=[10, 20], lost=0), "finished")
    code, out, err = finetop("check", "curved", "--curve", "--on", "box")
    assert (code, "step 20" in out, err) == (0, True, "")


def test_a_tail_goes_on_over_a_dropped_link(hosts, finetop):
    rig = hosts.rigs["box"]
    rig.submit("tailed", steps=60, pause_s=0.05)
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
        first = tail.stdout.readline()
        hosts.drop("box")
        # communicate() would miss what readline() has read ahead
        rest, err = tail.stdout.read(), tail.stderr.read()
    steps = [json.loads(line)["step"]["step"] for line in (first + rest).splitlines()]
    assert steps == list(range(1, 61))
    assert "finetop: box is out of reach (" in err
    assert "finetop: box is back." in err
    assert tail.returncode == 0
    wait_until(lambda: not hosts.living(), "no ssh is left behind")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--on", "-oProxyCommand=id", "ls"), 2, "is no host"),
        (("ls", "--on=-oProxyCommand=id"), 2, "is no host"),
        (("--on", "nowhere", "--on", "nowhere", "ls"), 2, "is there twice"),
        (("--on",), 2, "--on: a value is missing"),
        (("doctor", "--on", "box"), 2, "Run it there: ssh box finetop doctor"),
        (("import", "/x", "--on", "box"), 2, "Run it there: ssh box finetop import"),
        (("run", "lora", "--on", "ana@lab", "--on", "box"), 2, "one machine at a time"),
        (("run", "lora", "--on", "box", "--set", "data.train=[{path: /no.jsonl}]"), 2, "box has no /no.jsonl"),
        (("export", "x", "--on", "box", "--to", "here"), 2, "its whole path there"),
        (("check", "--model", "/x", "--on", "box"), 2, "is looked at here"),
        (("ls", "--remote-command", "x"), 2, "goes with --on"),
        (("ls", "--on", "box", "--remote-command", "no-such-program-here"), 4, "box has no finetop"),
        (("--on", "box", "--home", "/proc/finetop", "ls"), 4, "box: can't make the home folder /proc/finetop"),
    ],
)  # fmt: skip
def test_what_can_not_be_is_one_line_with_its_exit_code(finetop, hosts, words, code, says):
    if words[0] == "export":
        rig = hosts.rigs["box"]
        rig.wait_state(rig.submit("x", steps=1), "finished")
    got, out, err = finetop(*words)
    assert says in err
    assert got == code
    assert err.count("\n") == 1
    assert "Traceback" not in err + out


def test_ls_elsewhere_loads_nothing_heavy(finetop, hosts):
    code = (
        "import sys\nfrom finetop.core.commands.main import main\nmain(['ls', '--on', 'box'])\n"
        "print(sorted({'torch', 'duckdb', 'textual', 'yaml', 'asyncio.x', 'numpy'} & set(sys.modules)))"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.splitlines()[-1] == "[]"
