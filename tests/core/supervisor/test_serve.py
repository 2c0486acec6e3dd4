"""The socket: one supervisor per home, several clients, strangers, nonsense."""

import asyncio
import contextlib
import json
import resource
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest
from rig import Rig
from waiting import LIMIT_S, until, wait_until

from finetop.core.client.connection import Client, connect
from finetop.core.errors import BadInput
from finetop.core.protocol import wire
from finetop.core.protocol.messages.runs import Runs, Sql
from finetop.core.protocol.messages.session import Changes, Hello
from finetop.core.runtime.home import Home
from finetop.core.store.database import migrate
from finetop.core.supervisor.requests.session import changes
from finetop.core.supervisor.serve import listen, reply


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    """One supervisor for all read-only tests: starting one costs more than any of them."""
    made = Rig(Home(tmp_path_factory.mktemp("served") / "home"))
    made.up()
    yield made
    made.stop_all()


def test_two_clients_see_the_same_and_a_waiting_one_hears_of_changes(rig):
    # the socket is for the owner alone
    assert stat.S_IMODE(rig.home.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(rig.home.root.stat().st_mode) == 0o700
    with (
        Client(rig.home, start=False) as one,
        Client(rig.home, start=False) as two,
        ThreadPoolExecutor() as aside,
    ):
        before = one.ask(Runs()).revision
        hearing = aside.submit(two.ask, Changes(before, 50.0))
        name = rig.submit(steps=1)
        assert hearing.result().revision != before
        rig.wait_state(name, "finished")
        assert one.ask(Runs()).rows == two.ask(Runs()).rows


async def test_a_wait_ends_with_the_change_itself_and_not_at_its_limit(quiet):
    ask = Changes(quiet.supervisor.revision, timeout_s=50.0)
    waiting = asyncio.create_task(changes(quiet.supervisor, ask))
    await a_few_turns()
    assert not waiting.done()
    quiet.supervisor.touch()
    await a_few_turns()
    assert waiting.done()


async def a_few_turns() -> None:
    """Let every task run that does not wait for a clock, or for anything outside."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_nonsense_is_answered_with_an_error_and_the_supervisor_lives(rig):
    for line, words in (
        (b"nonsense\n", ""),
        (b'{"v":1,"id":1}\n', ""),
        (b'{"v":1,"id":1,"ask":{"verb":"format_disk"}}\n', ""),
        (b'{"v":1,"id":1,"ask":{"verb":"runs","limit":"many"}}\n', ""),
        (b"[" * 5000 + b"\n", ""),
        (b"\xff\xfe\n", ""),
        (b'{"v":99,"id":3,"ask":{"verb":"hello"}}\n', "protocol 1"),
    ):
        with contextlib.closing(connect(rig.home, start=False)) as link:
            link.sendall(line)
            error = json.loads(link.makefile("rb").readline())["error"]
        assert words in error["message"]
        assert words or error["exit"] == 2
        rig.ask(Hello())


def test_a_request_over_the_limit_ends_that_connection_only(rig):
    link = socket.socket(socket.AF_UNIX)
    link.connect(str(rig.home.socket))
    link.settimeout(20)
    try:
        for _ in range(20):
            link.sendall(b"x" * (1 << 20))
        assert link.recv(1) == b""
    except (BrokenPipeError, ConnectionResetError):
        pass
    link.close()
    rig.ask(Hello())


@pytest.mark.slow
def test_sql_reads_the_store_and_nothing_else_with_a_time_limit_and_a_row_cap(rig):
    for query in (
        *("DELETE FROM runs", "SELECT 1; SELECT 2", "SET memory_limit = '1GB'", "PRAGMA database_list"),
        *("COPY runs TO '/tmp/finetop-should-not-be.csv'", "ATTACH '/tmp/finetop-should-not-be.db'"),
        *("SELECT * FROM read_text('/etc/hostname')", "SELECT * FROM no_such_table", "SELEKT", ""),
    ):
        with pytest.raises(BadInput):
            rig.ask(Sql(query))
    assert not Path("/tmp/finetop-should-not-be.csv").exists()
    answer = rig.ask(Sql("SELECT * FROM range(100)", 10))
    assert (len(answer.rows), answer.cut) == (10, True)
    with pytest.raises(BadInput, match="took over"):  # it would take weeks to finish
        rig.ask(Sql("SELECT count(*) FROM range(10000000) a, range(10000000) b", 10, 0.3))
    rig.ask(Hello())


def test_a_caller_that_stays_keeps_no_supervisor_from_ending(quiet):
    """A change and the end at the same moment: a waiter for one must not miss the other."""

    async def end() -> None:
        server = await listen(quiet.supervisor)
        reader, writer = await asyncio.open_unix_connection(str(quiet.home.socket))
        ask = Changes(quiet.supervisor.revision, timeout_s=50.0)
        writer.write(wire.envelope(1, ask) + b"\n")
        before = asyncio.all_tasks()
        await until(lambda: quiet.supervisor.changed._waiters, "it waits for a change")
        talks = [task for task in asyncio.all_tasks() if task not in before and "talk" in repr(task)]
        assert talks
        quiet.supervisor.touch()
        await asyncio.sleep(0)  # its wait is over, and it has not continued yet
        quiet.supervisor.ending.set()
        for task in talks:
            task.cancel()
        async with asyncio.timeout(LIMIT_S):
            await asyncio.wait(talks)
            assert await reader.readline()
        writer.close()
        server.close()

    asyncio.run(end())


@pytest.mark.slow
def test_without_handles_for_more_connections_the_log_has_one_line_and_all_are_served_again(cold_rig):
    process = cold_rig.up()
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (40, 40))
    greedy = []
    for _ in range(90):
        one = socket.socket(socket.AF_UNIX)
        one.connect(str(cold_rig.home.socket))
        greedy.append(one)
    read = cold_rig.home.log.read_text
    wait_until(lambda: "can't accept connections" in read(), read)
    wait_until(cold_rig.answers, read)
    log = read()
    assert log.count("can't accept connections for a moment: Too many open files (ulimit -n is 40)") == 1
    assert "Traceback" not in log
    for one in greedy:
        one.close()


async def test_a_read_that_needs_too_much_memory_says_that_nothing_was_written(quiet):
    supervisor = quiet.supervisor
    store = supervisor.connection
    supervisor.connection = duckdb.connect(config={"memory_limit": "20MB"})
    try:
        migrate(supervisor.connection, quiet.home.database, made_now=True)
        supervisor.connection.execute("ALTER TABLE runs RENAME TO stored")
        needed = "len((SELECT list(i) FROM range(9000000) numbers(i))) > 0"  # 72 MB
        supervisor.connection.execute(f"CREATE VIEW runs AS SELECT * FROM stored WHERE {needed}")
        answered = await reply(supervisor, wire.envelope(1, Runs()))
    finally:
        supervisor.connection.close()
        supervisor.connection = store
    error = wire.reply_decoder.decode(answered).error
    assert error is not None
    assert "can't be read: Out of Memory" in error.message
    assert "Nothing was written" in error.message
    assert supervisor.trouble == ""
