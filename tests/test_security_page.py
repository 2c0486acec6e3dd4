"""docs/security.md: every limit that it names is the code's own."""

import re
from pathlib import Path

from finetop.core import text
from finetop.core.data import files, render
from finetop.core.external.sources import _sqlite
from finetop.core.models import config_file, safetensors_header
from finetop.core.protocol import wire
from finetop.core.protocol.messages import runs
from finetop.core.recipe import answer_rules, home_settings, strict_yaml
from finetop.core.runtime import home, secrets, webhook_url
from finetop.core.store import event_batch, sql_query
from finetop.core.supervisor import connections
from finetop.core.supervisor.notify import compose, send

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "security.md").read_text(encoding="utf-8")
LIMITS = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|$", PAGE.partition("## Limits")[2], re.MULTILINE))


def mib(size: int) -> str:
    assert size % 2**20 == 0
    return f"{size >> 20} MiB"


SAID = {
    "connections to a supervisor": f"{connections.MOST}, or half",
    "one request; one answer": f"{mib(wire.REQUEST_LIMIT)}; {mib(wire.ANSWER_LIMIT)}",
    "unfinished requests": f"{mib(connections.HELD_BYTES)} (each beyond {connections.PIECE_BYTES >> 10} KiB",
    "an answer of which": f"{connections.TAKE_S:.0f} s,",
    "a query of": f"{sql_query.MEMORY_BYTES >> 30} GiB of memory beside the process itself, {sql_query.MOST_S:.0f} s,"
                  f" {sql_query.AT_A_TIME} at a time, {runs.SQL_ROWS:,} rows, {mib(runs.SQL_BYTES)} as JSON",
    "YAML": f"{strict_yaml.MAX_BYTES >> 10} KiB, {strict_yaml.MAX_VALUES:,} values, {strict_yaml.MAX_DEPTH} levels",
    "a row of data": mib(files.ROW_BYTES),
    "a line of a job's events": mib(event_batch.LINE_BYTES),
    "a job's log": f"{home_settings.Logs().mib} MiB",
    "one line that is shown": f"{text.SHOWN_BYTES:,} bytes; a value in an error, {text._SHOWN} characters",
    "a text that a pattern": f"{answer_rules.LONGEST_MATCHED_TEXT:,} characters",
    "the header of a safetensors":
        f"{mib(safetensors_header.LONGEST_HEADER)}; {safetensors_header.MOST_TENSORS:,}",
    "the `config.json`": mib(config_file.LARGEST_FILE),
    "a chat template, for one text": f"{render.SECONDS:.0f} s, {render.BYTES >> 30} GiB of memory,"
                                      f" {render.LONGEST:,} characters",
    "a SQLite file of metrics": f"{_sqlite.MOST_S:.0f} s, {mib(_sqlite.LONGEST)} a value",
    "the path of a socket": f"{home.SOCKET_PATH_LIMIT} bytes",
    "messages to a command": f"{compose.MOST} a minute",
}  # fmt: skip


def test_each_limit_is_that_of_the_code() -> None:
    for of, said in SAID.items():
        (named,) = [limit for name, limit in LIMITS.items() if name.startswith(of)]
        assert said in named, of


def test_the_numbers_of_the_text_too() -> None:
    assert f"at least {secrets.SHORTEST} characters" in PAGE
    assert f"a part of {webhook_url.SHORTEST_SECRET} characters" in PAGE
    assert f"gets {len(send.PASSED_ON)} harmless variables" in PAGE
    assert (compose.IN_S, compose.OLD_S) == (60, 86_400)  # a minute, a day


def test_readme_and_faults_lead_there() -> None:
    assert "(docs/security.md)" in (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert "(security.md)" in (DOCS / "faults.md").read_text(encoding="utf-8")
