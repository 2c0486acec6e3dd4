"""The list with many runs: every query stays within the memory of the store."""

from importlib import import_module
from pathlib import Path

import pytest

from finetop.core.features.triage import sql as triage
from finetop.core.features.triage.messages import Triage
from finetop.core.runtime.home import Home
from finetop.core.store import run_list
from finetop.core.store.database import open_store

BENCH = Path(__file__).parents[2] / "bench"
NOW = 2e9
WORDS = ("legal", "regressed", "not checked", "-lora", "ablation", "spike", "forgot:regressed", "zzz")
LONG = {
    "fifty terms": " ".join(["legal", *(f"-word{number}" for number in range(49))]),
    "words in groups": "group:verdict legal sort:train/m7", "metrics": "loss<9 train/m7<9 train/m8<9 sort:train/m9",
}  # fmt: skip
# what long use leaves with every run: 100 metrics, a check of 57 tasks, tags, an open alarm
USED = """
UPDATE runs SET tags = '["ablation","second-of-many","sweep/some-long-name","keep"]', last = left(last, -1) ||
    (SELECT string_agg(',"train/m' || j || '":' || random(), '') FROM range(100) t(j)) || '}',
    brief = replace(brief, '"worst":[', '"worst":[' || (SELECT string_agg('{"task":"subject_number_' || j
        || '","drop":1.25,"mark":"open"},', '') FROM range(57) t(j)))
WHERE id >= $first AND id < $first + 1000
"""
ALARMS = "INSERT INTO alarms SELECT id, 'spike', 3, 'spike: loss rose to ' || id, 1.0, NULL FROM runs"


def filled(folder, count):
    """Open a store of that many runs, as the measuring script makes it and long use leaves it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        bench = import_module("runs_list")
    home = Home(folder / "home")
    bench.make(home, count, 1)
    store = open_store(home.database)
    for first in range(1, count + 1, 1000):
        store.execute(USED, {"first": first})
    store.execute(ALARMS)
    return store, bench.ASKED


def fits_in_memory(store, queries, count):
    """Ask for a page of each; DuckDB raises where one needs more memory than the store has."""
    found = {}
    for name, text in queries.items():
        page = run_list.page(store, filter=text, sort="needs_you", offset=0, limit=100, revision=0, now=NOW)
        assert page.total == count
        found[name] = page.matching
    return found


@pytest.mark.slow
def test_plain_words_find_runs_among_more_than_a_chunk_of_them(tmp_path):
    store, _ = filled(tmp_path, 3000)
    found = fits_in_memory(store, {word: word for word in WORDS}, 3000)
    store.close()
    assert found["legal"] == 750
    assert found["forgot:regressed"] == found["regressed"] == 60
    assert found["spike"] == 3000
    assert found["zzz"] == 0


@pytest.mark.slow
def test_every_query_of_the_list_fits_into_the_store_with_20_000_runs(tmp_path):
    store, asked = filled(tmp_path, 20_000)
    found = fits_in_memory(store, {**asked, **{word: word for word in WORDS}, **LONG}, 20_000)
    assert found["by text"] == 5000
    triage.page(store, Triage(filter="legal ok"), 0)
    store.close()
