"""Launchers: everything about this machine stays in one file, so that a cluster's launcher is a second one."""

import ast
from pathlib import Path

from finetop.core import supervisor
from finetop.core.runtime import processes
from finetop.core.supervisor.launchers import local

ROOM = Path(supervisor.__file__).parent
OF_A_MACHINE = ("fcntl", "finetop.core.runtime.keeper", "finetop.core.runtime.job_process")
LOCAL = ROOM / "launchers" / "local.py"
# A command that sends a notification is no job, but its leftovers are ended by the same means. On a node of a cluster
# the keeper belongs to that machine.
EXEMPT = {LOCAL, ROOM / "launchers" / "slurm_node.py", ROOM / "notify" / "send.py"}


def imports(tree: ast.AST) -> set[str]:
    names = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}", *(f"{node.module}.{name.name}" for name in node.names)}
    return names


def texts(tree: ast.AST) -> list[str]:
    """List the strings of a module except its docstrings."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    ]


def local_means(file: Path) -> list[str]:
    """List the names in a file that belong to running jobs on this machine."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = sorted(imports(tree) & set(OF_A_MACHINE))
    return found + [text for text in texts(tree) if "/proc" in text or "keeper" in text]


def test_nothing_but_the_local_launcher_names_locks_proc_or_keepers():
    found = {file: local_means(file) for file in set(ROOM.rglob("*.py")) - EXEMPT}
    assert {file: means for file, means in found.items() if means} == {}
    assert {"fcntl", "finetop.core.runtime.keeper", "keeper.json"} <= set(local_means(LOCAL))


def test_an_attempt_that_was_never_started_has_left_nothing(tmp_path):
    launcher = local.LocalLauncher(tmp_path)
    attempt = local.Attempt(7, tmp_path / "job", 1)
    attempt.folder.mkdir()
    assert launcher.list([attempt])[7] == local.JobStatus(None, False, 0)
    assert (launcher.trace(attempt), launcher.clear(attempt)) == ("none", 0)
    assert not launcher.signal(attempt, "stop")
    assert (launcher.usage([attempt]), launcher.processes([attempt])) == ({}, [])
    assert launcher.owners([attempt], {1}) == {}
    assert not launcher.tend() and not launcher.let_go() and not launcher.warm().waits


def test_a_record_that_no_keeper_wrote_is_none(tmp_path):
    for text in (
        *('{"attempt": 1}', '{"attempt": 1, "ended": "soon"}', '{"attempt": 1, "ended": null, "code": []}'),
        *('{"attempt": 1, "pid": "x", "job_pid": 1, "boot": "b", "start": "1"}', '{"attempt": 1, "pid": 1}'),
        *("[1]", "null", '{"attempt"', "[" * 100_000),
    ):
        for name in ("exit.json", "keeper.json"):
            (tmp_path / name).write_text(text)
        assert (local.exit_of(tmp_path, 1), local.record_of(tmp_path, 1)) == (None, None), text[:99]


def test_a_rank_that_waits_for_a_disk_counts_as_the_one_process_of_a_job_does():
    def seen(main, rank, worker):
        states = enumerate(("S", main, rank, worker), 2)  # the first is the keeper; each starts the next
        return {pid: processes.Process(pid, pid - 1, state, 0.0) for pid, state in states}

    for states, waits in (("DSS", True), ("SDS", True), ("SSD", False)):
        assert local.usage_of(2, 3, seen(*states)).waits_for_device is waits, states
