"""Fault 10: the database damaged, cut, or without its WAL: refused with a message, and rebuilt row for row."""

import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import pytest
from dumping import differences, dump
from still import Still, still
from waiting import times

from finetop.core.errors import StoreTrouble
from finetop.core.protocol import wire
from finetop.core.protocol.messages.runs import GetRun, Runs, Sql
from finetop.core.runtime.home import Home
from finetop.core.store import backups, run_records
from finetop.core.supervisor import serve
from finetop.core.supervisor.__main__ import open_home
from finetop.core.supervisor.rebuild.rebuild import rebuild
from finetop.core.supervisor.state import Supervisor

RUNS = 4


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    """A home of a few runs, made once and copied for each test."""
    rig = still(tmp_path_factory.mktemp("pattern") / "home")
    for number in range(RUNS):
        rig.run(f"run-{number}", tuple(range(1, 40)), size=1, losses={s: 0.1 * s for s in range(1, 40)})
    rig.close()
    return rig.home.root


@pytest.fixture
def full(pattern, tmp_path):
    """A home of a few runs, closed: its WAL is empty."""
    shutil.copytree(pattern, tmp_path / "home")
    rig = still(tmp_path / "home")
    rig.close()
    return rig


async def read_all(home: Home) -> list[str]:
    """Open a home and read every table through its protocol. Return the refusal, in words."""
    try:
        connection = open_home(home)
    except StoreTrouble as error:
        return [str(error)]
    supervisor = Supervisor(home, connection)
    refused = []
    try:
        names = [n for (n,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        asks = [Runs(), *(GetRun(str(n)) for n in range(1, RUNS + 1))]
        each = (f"SELECT '{name}', count(*), bit_xor(hash(t)) FROM {name} t" for name in names)
        asks += [Sql(" UNION ALL ".join(each))]  # every value of every table
        for ask in asks:
            line = wire.envelope(1, ask)
            answer = wire.reply_decoder.decode(await serve.reply(supervisor, line))
            if answer.error is not None:
                refused.append(f"{answer.error.message} {answer.error.hint}")
    finally:
        connection.close()
    return refused


@pytest.fixture
def endure(full: Still, survived):
    """Damage a database in these ways, one after the other: each refused in words or harmless; then rebuild it.

    Returns the refusals.
    """

    async def tell(what: str, damages: list[Callable[[], object]]) -> list[list[str]]:
        home, before = full.home, dump(full.home.database)
        refusals, silent = [], 0
        for damage in damages:
            damage()
            refusals.append(await read_all(home))
            if not refusals[-1]:
                silent += bool(differences(before, dump(home.database)))
            backups.wal_of(home.database).unlink(missing_ok=True)
        rebuild(home)
        lost, written = len(differences(before, dump(home.database))), sum(map(len, before.values()))
        survived("10", what, repeats=len(damages), written=written, lost=lost, wrong=silent)
        assert all("finetop rebuild" in words and "\n" not in words for one in refusals for words in one)
        return refusals

    return tell


def flipped(whole: bytes, at: int, bit: int) -> bytes:
    bad = bytearray(whole)
    bad[at] ^= bit
    return bytes(bad)


@pytest.mark.parametrize("flips", [times(100, 25)])
async def test_a_flipped_bit_anywhere_is_refused_in_words_or_does_no_harm(full: Still, endure, flips):
    database, places = full.home.database, random.Random(10)
    whole = database.read_bytes()

    def flip(number: int) -> None:
        # a quarter in the headers, which describe the file
        at = places.randrange(12_288) if number % 4 == 0 else places.randrange(len(whole))
        database.write_bytes(flipped(whole, at, 1 << places.randrange(8)))

    refusals = await endure("database: a bit flipped", [partial(flip, number) for number in range(flips)])
    assert sum(map(bool, refusals)) > flips / 2, "the test damages nothing"


async def test_a_database_that_was_cut_is_refused_in_words(full: Still, endure):
    database = full.home.database
    whole = database.read_bytes()
    size = len(whole)
    cuts = [0, 1, 4096, 8192, 12_288, size // 3, size // 2, size - 4096, size - 1]
    damages = [partial(database.write_bytes, whole[:place]) for place in cuts]
    refusals = await endure("database: cut, or gone", [*damages, database.unlink])
    assert refusals[-1]


async def test_a_wal_that_is_damaged_cut_or_gone_never_passes_for_the_whole(full: Still, endure):
    """A kill -9 leaves a database and its WAL. If the WAL is damaged, it opens completely or is refused."""
    full.open()
    full.run("in-the-wal", (1, 2, 3))
    full.queue("queued-in-the-wal")
    run_records.write_marked(full.supervisor.connection, full.supervisor.home.root)
    database, wal = full.home.database, backups.wal_of(full.home.database)
    whole, log = database.read_bytes(), wal.read_bytes()
    full.supervisor.connection.close()
    database.write_bytes(whole)
    wal.write_bytes(log)
    places = random.Random(11)
    damaged = [b"", None, *(log[:size] for size in (1, len(log) // 3, len(log) // 2, len(log) - 100))]
    damaged += [flipped(log, places.randrange(len(log)), 0x10) for _ in range(6)]

    def replace(log: bytes | None) -> None:
        database.write_bytes(whole)
        if log is not None:
            wal.write_bytes(log)

    await endure("WAL: damaged, cut or gone", [partial(replace, one) for one in damaged])


def test_an_old_copy_of_the_database_is_refused_in_words(full: Still, tmp_path):
    shutil.copy(full.home.database, tmp_path / "old")
    full.open()
    full.run("newer", (1,))
    full.supervisor.connection.close()
    shutil.copy(tmp_path / "old", full.home.database)
    with pytest.raises(StoreTrouble, match=r"older than the run folders"):
        open_home(full.home)


def test_a_lock_of_another_process_is_not_taken_for_damage(full: Still):
    held = subprocess.Popen(
        [sys.executable, "-c", f"import duckdb, sys; c = duckdb.connect({str(full.home.database)!r});"
                               "print('has it', flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert held.stdout.readline()
        with pytest.raises(StoreTrouble, match="in use by another process"):
            open_home(full.home)
    finally:
        held.communicate()
