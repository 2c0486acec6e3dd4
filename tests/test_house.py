"""The layout of the source: rooms in one order, imports downwards alone (types too), no circle, no loose modules."""

import ast
import io
import re
import tokenize
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TypeGuard

from source import ROOT, files, imports as imports_of, parsed, statements

from finetop.core.protocol import job_kinds

LOOSE = {"errors", "text", "plugins", "run_job"}  # the modules that are rooms of their own


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(("finetop", *(parts[:-1] if parts[-1] == "__init__" else parts)))


@cache
def imports() -> dict[str, set[str]]:
    """Read which of our modules each of our modules imports: at its top, in functions, and for types."""
    modules = {name_of(file): file for file in files("core", "tui")}
    read: dict[str, set[str]] = {}
    for module, file in modules.items():
        targets = {
            name if (name := f"{source}.{part}") in modules else source
            for source, part in imports_of(file.read_text(encoding="utf-8"))
        }
        read[module] = targets & modules.keys() - {module}
    return read


def rooms() -> list[str]:
    """Read the rooms of core from the one place that orders them, the lowest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    own = [c["layers"] for c in contracts["contracts"] if c.get("containers") == ["finetop.core"]]
    return list(reversed(*own))


def features() -> list[str]:
    """Read the features from the one place that orders them, the lowest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    own = [c["layers"] for c in contracts["contracts"] if c.get("containers") == ["finetop.core.features"]]
    return list(reversed(*own))


def room_of(module: str) -> str:
    return module.split(".")[2] if module.startswith("finetop.core.") else module.split(".")[1]


def test_no_module_imports_itself_through_others() -> None:
    assert len(imports()) > 100
    try:
        tuple(TopologicalSorter(imports()).static_order())
    except CycleError as error:
        raise AssertionError(f"a circle: {' -> '.join(error.args[1])}") from None


def test_a_room_imports_from_those_below_it_alone() -> None:
    order = {room: place for place, room in enumerate([*rooms(), "tui"])}
    upwards = [
        f"{module} imports {target}"
        for module, targets in imports().items()
        for target in targets
        if module != "finetop.core" and target != "finetop.core"
        if order[room_of(module)] < order[room_of(target)]
    ]
    assert not upwards


# A feature's doors, and its job and its verbs; beside them it has files of its own.
DOORS = {
    "messages", "columns", "wording", "kind", "sql", "requests", "endings", "supervision", "fleet", "show", "job",
    "commands",
}  # fmt: skip


def test_the_kernel_imports_no_feature() -> None:
    upwards = [
        f"{module} imports {target}"
        for module, targets in imports().items()
        for target in targets
        if target.startswith("finetop.core.features")
        if not module.startswith(("finetop.core.features", "finetop.tui"))
    ]
    assert not upwards


def test_every_feature_is_ordered_and_fits_a_door() -> None:
    folders = {file.parent.name: file.parent for file in (ROOT / "core" / "features").glob("*/__init__.py")}
    assert set(folders) == set(features())
    for folder in folders.values():
        assert {file.stem for file in folder.iterdir()} & DOORS, folder
        # What a door imports loads the feature's face too, which so must be light.
        assert not list(imports_of((folder / "__init__.py").read_text(encoding="utf-8"))), folder


def test_every_module_of_core_has_a_room() -> None:
    assert {file.stem for file in (ROOT / "core").glob("*.py")} == {*LOOSE, "__init__"}
    folders = {file.parent.name for file in (ROOT / "core").glob("*/__init__.py")}
    assert folders | LOOSE == set(rooms())


def test_a_room_says_in_a_few_lines_what_it_is_for() -> None:
    faces = [ROOT / "tui" / "__init__.py", *ROOT.glob("core/*/__init__.py"), *ROOT.glob("tui/*/__init__.py")]
    lengths = {name_of(face): len((ast.get_docstring(parsed(face)) or "").splitlines()) for face in faces}
    assert {name for name, lines in lengths.items() if not 1 <= lines <= 6} == set()


def test_tests_mirror_the_folders_of_the_source() -> None:
    folders = {
        file.parent.relative_to(ROOT / "tests").as_posix() for file in files("tests/core", "tests/tui")
    }
    assert len(folders) > 60
    assert {folder for folder in folders if not (ROOT / folder).is_dir()} == set()


# Below the home somebody else's pipe, device or link may lie: all there is opened by runtime.files.open_own, or by what
# is built on it (open_regular, read_own, end_of, write_whole). What a person names is opened by open_given.
OF_THE_HOME = ("supervisor", "store", "runtime", "commands", "client")
DOORS_OF_THE_HOME = ("sql", "requests", "endings", "supervision", "commands", "checks")
OPENS = {"open", "read_bytes", "read_text", "write_bytes", "write_text", "copyfile", "copytree"}
CALLED = re.compile(rf"\b(?:{'|'.join(OPENS)})\(")
OPEN_OTHERWISE = {
    "runtime/files.py": "the one place",
    "runtime/cgroups.py": "the kernel's files of control groups",
    "runtime/kernel_log.py memory_kill_of": "the kernel's log",
    "runtime/processes.py": "the kernel's files of processes",
    "runtime/keeper.py write_stacks": "by open_own",
    "runtime/torch_fits.py built_for": "a file that comes with torch",
    "store/database.py migrations": "SQL that comes with finetop",
    "store/backups.py copy": "of the database, which open_store has looked at; copyfile refuses a pipe",
    "store/sql_query.py _copy": "the same",
    "supervisor/notify/webhook.py": "a web address",
    "supervisor/requests/submit.py make_run": "into a folder that was made just now",
    "client/remote/connect.py": "a link to another machine",
    "commands/shared/ci_reports.py": "a file that a person names",
    "features/doctor/checks/machine.py": "the system's settings",
}


def test_all_below_the_home_is_opened_by_one_function() -> None:
    """A pipe named run.json held the supervisor at its start, and a device filled it."""
    unused, found = set(OPEN_OTHERWISE), []
    doors = [path for door in DOORS_OF_THE_HOME for path in (ROOT / "core" / "features").glob(f"*/{door}*")]
    in_doors = [file for path in doors for file in ([path] if path.is_file() else path.glob("*.py"))]
    for in_room in (*(files(f"core/{room}") for room in OF_THE_HOME), in_doors):
        for file in in_room:
            name = file.relative_to(ROOT / "core").as_posix()
            calls = calls_of(parsed(file)) if CALLED.search(file.read_text(encoding="utf-8")) else []
            for inside, call in calls:
                if getattr(call.func, "attr", getattr(call.func, "id", "")) not in OPENS:
                    continue
                said = ast.unparse(call)
                if any(own in said for own in ("os.devnull", "os.O_DIRECTORY", "'/proc/")):
                    continue
                known = {name, f"{name} {inside}"} & set(OPEN_OTHERWISE)
                unused -= known
                found += [] if known else [f"{name}:{call.lineno} {inside}: {said[:60]}"]
    assert not found
    assert not unused


SQL = re.compile(r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|ALTER|COPY|WITH) ")
# SQL elsewhere than in the store and in files named for it: of other programs' databases, or as a client's question.
SQL_ELSEWHERE = {
    "external/sources": "databases of other programs",
    "client/past_runs.py": "a question as `finetop sql` asks them",
    "features/doctor/checks/processes.py": "a question as `finetop sql` asks them",
}


def test_sql_stands_where_its_name_says_so() -> None:
    found, unused = [], set(SQL_ELSEWHERE)
    for file in files("core", "tui"):
        name = file.relative_to(ROOT / file.relative_to(ROOT).parts[0]).as_posix()
        if name.startswith("store/") or name.endswith(("/sql.py", "_sql.py")):
            continue
        seen = [node for node in ast.walk(parsed(file)) if is_sql(node)]
        known = {place for place in SQL_ELSEWHERE if seen and name.startswith(place)}
        unused -= known
        found += [] if known else [f"{name}:{node.lineno}: {ast.unparse(node)[:50]}" for node in seen]
    assert not found
    assert not unused


def is_sql(node: ast.AST) -> TypeGuard[ast.expr]:
    """Return True for a text of SQL, and for a call of a connection's `execute`."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and node.func.attr == "execute"
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(SQL.match(node.value))


# What the rest has to know of a kind of job is a fact of its class (protocol/job_kinds.py), not a list of verbs.
KIND_FILES = re.compile(r"core/(kinds/|features/\w+/kind\.py|protocol/job_kinds\.py)")
A_VERB = re.compile(r"\b(verb|made_by|what)('\])?$|\('verb'\)$")
NAMED = re.compile(rf"'({'|'.join(job_kinds.kinds())})'|\b[A-Z][A-Z_]+$|\b[A-Z]\w+Kind\b")
IN_SQL = re.compile(r"\bverb (=|<>|!=|IN) ?\(?'")
MOST_BY_VERB = 10


def test_a_job_is_seldom_known_by_its_verb_and_never_without_a_reason() -> None:
    found, unexplained = [], []
    for file in files("core", "tui"):
        name, text = file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")
        if KIND_FILES.match(name) or not re.search(r"\bverb\b|\bmade_by\b|\.what\b", text):
            continue
        lines = text.splitlines()
        for around in statements(parsed(file)):
            for node in filter(names_a_verb, own_expressions(around)):
                found.append(f"{name}:{node.lineno}: {ast.unparse(node)[:60]}")
                has_reason = [
                    line
                    for number, line in enumerate(lines[around.lineno - 2 : node.lineno])
                    if (number and "  # " in line) or line.strip().startswith("# ")
                ]
                unexplained += [] if has_reason else found[-1:]
    assert not unexplained
    assert 0 < len(found) <= MOST_BY_VERB, found


def own_expressions(statement: ast.AST) -> Iterator[ast.expr]:
    """Yield the expressions of a statement, without those of the statements inside it."""
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, ast.expr):
            yield child
        if not isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from own_expressions(child)


def names_a_verb(node: ast.expr) -> bool:
    """Return True for a comparison of a job's verb with one that the source names, in Python or in SQL."""
    if isinstance(node, ast.Compare):
        sides = [ast.unparse(side) for side in (node.left, *node.comparators)]
        return any(map(A_VERB.search, sides)) and any(map(NAMED.search, sides))
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(IN_SQL.search(node.value))


def calls_of(tree: ast.AST, inside: str = "") -> list[tuple[str, ast.Call]]:
    """List all calls, each with the name of the function around it."""
    calls = []
    for node in ast.iter_child_nodes(tree):
        around = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else inside
        calls += [(inside, node)] if isinstance(node, ast.Call) else []
        calls += calls_of(node, around)
    return calls


# What a plug-in may have is a default of its kind's class: nobody asks one by getattr or hasattr whether it is there.
PLUGINS = {
    "methods", "objectives", "protections", "alarms", "rewards", "weight_formats", "findings", "select", "selectors",
}  # fmt: skip
PLUGINS |= {"remedies", "approaches", "formats", "files", "METHODS", "OBJECTIVES", "PROTECTIONS", "ALARMS"}
PLUGINS |= {"REWARD_RULES", "WEIGHT_FORMATS", "FORMATS", "REMEDIES", "APPROACHES", "KIND"}


def test_no_plugin_is_asked_what_it_has() -> None:
    seen, asked = 0, []
    for file in files("core", "tui"):
        if ".load(" not in file.read_text(encoding="utf-8"):
            continue
        for around in statements(parsed(file)):
            if not isinstance(around, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            nodes = list(ast.walk(around))
            names = {target.id for node in nodes for target in targets_of(node) if loads_plugin(node.value)}
            seen += sum(map(loads_plugin, nodes))
            asked += [
                f"{file.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"
                for node in nodes
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "hasattr")
                if loads_plugin(node.args[0]) or getattr(node.args[0], "id", "") in names
            ]
    assert seen > 40
    assert not asked


def loads_plugin(node: ast.AST | None) -> bool:
    """Tell a call such as methods.load(name)."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr != "load":
        return False
    return getattr(node.func.value, "id", getattr(node.func.value, "attr", "")) in PLUGINS


def targets_of(node: ast.AST) -> list[ast.Name]:
    """List the names that an assignment binds to one value."""
    if not isinstance(node, ast.Assign | ast.NamedExpr | ast.AnnAssign):
        return []
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target for target in targets if isinstance(target, ast.Name)]


def test_each_sleep_of_a_test_says_what_it_is_for() -> None:
    """Tests wait for conditions (tests/rig/waiting.py); where time itself is meant, a comment on the line says so."""
    seen, unexplained = 0, []
    for file in files("tests"):
        text = file.read_text(encoding="utf-8")
        if "sleep(" not in text:
            continue
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        explained = {token.start[0] for token in tokens if token.type == tokenize.COMMENT}
        lines = [
            node.lineno
            for node in ast.walk(parsed(file))
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "sleep")
        ]
        seen += len(lines)
        unexplained += [f"{file.relative_to(ROOT)}:{line}" for line in lines if line not in explained]
    assert seen > 20
    assert not unexplained
