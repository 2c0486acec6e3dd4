"""`finetop sql "SELECT …"`: read-only queries on the store."""

from __future__ import annotations

import argparse
import csv
import sys

from finetop.core.client.connection import ask_once
from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import print_json, print_table, warn
from finetop.core.protocol.messages.runs import SQL_BYTES, SQL_ROWS, Sql, SqlAnswer
from finetop.core.runtime.home import Home
from finetop.core.text import spreadsheet_cell

LONGEST = 80  # characters of a name; longer texts are cut on a terminal
MOST = f"an answer holds at most {SQL_ROWS:,} rows and {SQL_BYTES >> 20} MiB"


def arguments(parser: argparse.ArgumentParser) -> None:
    options.value(parser, "query", "SELECT", "tables: runs, jobs, metrics, checks, item_scores …")
    options.flag(parser, "--csv", "print CSV")
    options.flag(parser, "--spreadsheet", "CSV for spreadsheets: no cell is read as a formula")
    options.limit(parser, 1000)
    options.value(parser, "--timeout", "S", "time limit in seconds", type=options.seconds, default=10.0)


def run(args: argparse.Namespace, home: Home) -> int:
    answer = ask_once(home, Sql(args.query, args.limit, args.timeout))
    if args.json:
        print_json({"columns": answer.columns, "rows": answer.rows, "cut": answer.cut})
    elif args.csv or args.spreadsheet:
        writer = csv.writer(sys.stdout)
        safe = spreadsheet_cell if args.spreadsheet else str
        for row in (answer.columns, *answer.rows):
            writer.writerow([safe(value) if isinstance(value, str) else value for value in row])
    else:
        print_rows(answer)
    if answer.cut:
        more = "raise --limit for more" if len(answer.rows) == args.limit < SQL_ROWS else MOST
        warn(f"cut at {len(answer.rows):,} rows; {more}.")
    return 0


def print_rows(answer: SqlAnswer) -> None:
    columns = list(zip(*answer.rows, strict=True))
    numbers = [
        at for at, cells in enumerate(columns) if all(isinstance(v, int | float | None) for v in cells)
    ]
    rows = [["" if value is None else str(value) for value in row] for row in answer.rows]
    long = [at for at, cells in enumerate(columns) if max(len(str(cell)) for cell in cells) > LONGEST]
    print_table(answer.columns, rows, right=numbers, prose=long)


PLUGIN = Command("run one SELECT on the database, read-only", "organise", run, arguments)
