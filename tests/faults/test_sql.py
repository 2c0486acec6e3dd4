"""Queries that try to read, write or exhaust too much: refused in time, and the supervisor does not grow."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from drawn import few

from finetop.core.client.connection import Client
from finetop.core.errors import FinetopError
from finetop.core.protocol.messages.runs import SQL_BYTES, Sql
from finetop.core.protocol.messages.session import Hello
from finetop.core.runtime.home import prepare
from finetop.core.store import sql_query

if TYPE_CHECKING:
    from rig import Rig

GROWS_BYTES = 20 << 20  # the supervisor, at most
FILE = "/etc/hostname"

WRITES = [
    "DELETE FROM runs", "UPDATE runs SET name = 'x'", "INSERT INTO runs VALUES (1)", "DROP TABLE runs",
    "TRUNCATE runs", "ALTER TABLE runs ADD COLUMN x INTEGER", "CREATE TABLE x (a INTEGER)",
    "CREATE VIEW x AS SELECT 1", "CREATE INDEX x ON runs (id)", "CREATE SCHEMA x", "CREATE SEQUENCE x",
    "CREATE TYPE x AS ENUM ('a')", "CREATE MACRO x(a) AS a", "CREATE TEMP TABLE x AS SELECT 1",
    "CREATE OR REPLACE TABLE runs AS SELECT 1", "MERGE INTO runs USING runs b ON true WHEN MATCHED THEN DELETE",
    "COMMENT ON TABLE runs IS 'x'", "VACUUM", "ANALYZE", "CHECKPOINT", "FORCE CHECKPOINT",
]  # fmt: skip
STATEMENTS = [
    "BEGIN", "COMMIT", "ROLLBACK", "SET memory_limit = '90GB'", "SET GLOBAL threads = 64",
    "RESET memory_limit", "SET enable_external_access = true", "SET lock_configuration = false",
    "SET temp_directory = '/tmp'", "SET home_directory = '/root'", "SET extension_directory = '/tmp'",
    "SET custom_extension_repository = 'http://localhost'", "PRAGMA database_list", "PRAGMA threads = 64",
    "PRAGMA enable_profiling", "PRAGMA profiling_output = '/tmp/x'", "INSTALL httpfs", "LOAD httpfs",
    f"LOAD '{FILE}'", "FORCE INSTALL httpfs", "UPDATE EXTENSIONS", "CALL pragma_version()",
    "ATTACH '/tmp/finetop-no.db'", "ATTACH ':memory:' AS x", "DETACH finetop", "USE memory",
    "EXPLAIN ANALYZE DELETE FROM runs",
    "PREPARE x AS SELECT 1", "EXECUTE x", "DEALLOCATE x", "EXPORT DATABASE '/tmp/finetop-no'",
    "IMPORT DATABASE '/tmp'", "COPY runs TO '/tmp/finetop-no.csv'", f"COPY runs FROM '{FILE}'",
    "COPY (SELECT 1) TO '/dev/stdout'", "COPY FROM DATABASE finetop TO x", "CREATE SECRET x (TYPE S3)",
    "DROP SECRET x", "CREATE PERSISTENT SECRET x (TYPE S3)", "SET VARIABLE x = 1", "SHOW x", "",
    ";", ";;", "--", "SELECT 1; SELECT 2", "SELECT 1; DROP TABLE runs", "SELEKT", "SELECT", "\0", "SELECT \0",
    "SELECT * FROM no_such_table", "(" * 3000, "SELECT " + "(" * 3000,
]  # fmt: skip
FILES = [
    f"SELECT * FROM read_text('{FILE}')", f"SELECT * FROM read_blob('{FILE}')", f"SELECT * FROM '{FILE}'",
    f"SELECT * FROM read_csv('{FILE}')", f"SELECT * FROM read_csv_auto('{FILE}')",
    f"SELECT * FROM sniff_csv('{FILE}')", f"SELECT * FROM read_json('{FILE}')",
    f"SELECT * FROM read_ndjson('{FILE}')", f"SELECT * FROM read_parquet('{FILE}')",
    f"SELECT * FROM parquet_metadata('{FILE}')", f"SELECT * FROM parquet_scan('{FILE}')",
    "SELECT * FROM glob('/etc/*')", "SELECT * FROM 'http://localhost:1/x.csv'", "SELECT * FROM 's3://x/y.csv'",
    "SELECT * FROM read_text('/proc/self/environ')", "SELECT * FROM read_text('../*/run.json')",
    "SELECT * FROM read_blob('finetop.duckdb')", "SELECT getenv('HOME')", "SELECT * FROM sqlite_scan('x', 'y')",
    "SELECT * FROM postgres_scan('x', 'y', 'z')", "SELECT * FROM read_xlsx('x.xlsx')", "FROM read_text('/etc/*')",
    "SELECT * FROM query('DROP TABLE runs')", "SELECT * FROM query_table('/etc/hostname')",
    "WITH x AS (SELECT * FROM read_text('/etc/hostname')) SELECT * FROM x",
    "SELECT (SELECT content FROM read_text('/etc/hostname'))", "SELECT * FROM iceberg_scan('x')",
]  # fmt: skip
EXHAUST = [
    "SELECT range(300000000)", "SELECT repeat('x', 4000000000)", "SELECT repeat(repeat('x', 1000000), 3000)",
    "SELECT list(a) FROM range(100000000) t(a)", "SELECT string_agg(a, ',') FROM range(100000000) t(a)",
    "SELECT count(*) FROM range(10000000) a, range(10000000) b", "SELECT lpad('x', 2000000000, 'y')",
    "SELECT list_resize([1], 900000000)", "SELECT histogram(a) FROM range(50000000) t(a)",
    "SELECT md5(repeat('x', 2000000000))", "SELECT sum(a) OVER (ORDER BY hash(a)) FROM range(90000000) t(a)",
    "SELECT a FROM range(90000000) t(a) ORDER BY hash(a)", "SELECT DISTINCT md5(a::VARCHAR) FROM range(90000000) t(a)",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
    "WITH RECURSIVE t(n) AS (SELECT 'x' UNION ALL SELECT n || n FROM t) SELECT max(length(n)) FROM t",
    "SELECT list_transform(range(90000000), lambda x: x::VARCHAR)", "SELECT array_to_string(range(200000000), ',')",
    "SELECT count(*) FROM generate_series(1, 10000000000)", "SELECT bar(1, 0, 2, 100000000)",
    "SELECT from_hex(repeat('00', 1000000000))",
]  # fmt: skip
TIMEOUT_S = 2.0


def grown(rig: Rig, before: int) -> int:
    return psutil.Process(rig.processes[-1].pid).memory_info().rss - before


def left(rig: Rig) -> list[Path]:
    return list(rig.home.root.glob(f"{sql_query.PREFIX}*"))


def test_it_reads_the_store_and_nothing_else(rig: Rig) -> None:
    """None of these queries reaches a file, the network, settings or the store's own rows."""
    escapes = [*few(WRITES, 6), *few(STATEMENTS, 14), *few(FILES, 10)]
    name = rig.submit("mine")
    rig.wait_state(name, "finished")
    before = psutil.Process(rig.processes[-1].pid).memory_info().rss
    answered = []
    for query in escapes:
        try:
            answered.append((query, rig.ask(Sql(query, timeout_s=20.0))))
        except FinetopError as error:
            assert error.exit_code == 2, (query, error)
            assert "\n" not in error.message
    assert answered == []
    assert grown(rig, before) < GROWS_BYTES
    assert rig.ask(Sql("SELECT name FROM runs")).rows == [["mine"]]
    assert left(rig) == [] and not list(Path("/tmp").glob("finetop-no*"))


def test_nothing_is_exhausted(rig: Rig) -> None:
    """Each ends within its time plus two seconds, and costs the supervisor nothing."""
    rig.ask(Sql("SELECT 1"))
    before = psutil.Process(rig.processes[-1].pid).memory_info().rss
    late = []
    for query in few(EXHAUST, 8):
        began = time.monotonic()
        try:
            rig.ask(Sql(query, timeout_s=TIMEOUT_S))
        except FinetopError as error:
            assert error.exit_code == 2, (query, error)
        if (took := time.monotonic() - began) > TIMEOUT_S + 2:
            late.append((query, took))
        assert grown(rig, before) < GROWS_BYTES, query
    assert late == []
    assert left(rig) == []


@pytest.mark.parametrize("query", EXHAUST[:2])
def test_what_takes_the_memory_of_a_machine_is_refused(rig: Rig, query: str) -> None:
    before = psutil.Process(rig.processes[-1].pid).memory_info().rss
    with pytest.raises(FinetopError, match=r"needs more than 1 GiB|took over"):
        rig.ask(Sql(query, timeout_s=40.0))
    assert grown(rig, before) < GROWS_BYTES
    rig.ask(Hello())


def test_one_that_takes_too_long_is_killed(rig: Rig) -> None:
    with pytest.raises(FinetopError, match=r"took over 0\.3 s"):
        rig.ask(Sql("SELECT sum(hash(a)) FROM generate_series(1, 10000000000000) t(a)", 10, 0.3))
    assert left(rig) == []


def test_large_answers_that_nobody_takes_are_bounded(rig: Rig) -> None:
    """Each ends at 8 MiB, and two callers are served at a time."""
    answer = rig.ask(Sql("SELECT repeat('x', 100000) FROM range(1000)", 100_000, 50.0))
    assert answer.cut and SQL_BYTES * 0.9 < sum(len(row[0]) for row in answer.rows) <= SQL_BYTES
    before = psutil.Process(rig.processes[-1].pid).memory_info().rss
    callers = [Client(rig.home, start=False) for _ in range(6)]
    try:
        for caller in callers:
            caller.ask(Sql("SELECT repeat('x', 100000) FROM range(1000)", 100_000, 50.0))
            assert grown(rig, before) < 4 * SQL_BYTES + GROWS_BYTES
    finally:
        for caller in callers:
            caller.close()


def test_it_waits_for_its_turn_no_longer_than_for_its_answer(quiet) -> None:
    async def ask_while_others_are_answered() -> None:
        places = asyncio.Semaphore(0)
        with pytest.raises(FinetopError, match="other queries"):
            await sql_query.select(
                quiet.supervisor.home.database, "SELECT 1", limit=1, timeout_s=0.1, places=places
            )

    asyncio.run(ask_while_others_are_answered())


def test_copies_that_a_killed_supervisor_left_are_removed(cold_rig: Rig) -> None:
    prepare(cold_rig.home)
    folder = cold_rig.home.root / f"{sql_query.PREFIX}left"
    folder.mkdir()
    (folder / "finetop.duckdb").write_text("x")
    cold_rig.up()
    assert left(cold_rig) == []


def test_a_number_over_64_bits_is_a_text(rig: Rig) -> None:
    row = rig.ask(
        Sql(
            "SELECT 170141183460469231731687303715884105727, [1.5::DECIMAL(5, 2)], MAP {1: DATE '2020-01-01'}"
        )
    ).rows[0]
    assert row == ["170141183460469231731687303715884105727", ["1.50"], {"1": "2020-01-01"}]
