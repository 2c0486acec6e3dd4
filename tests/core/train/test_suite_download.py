"""A suite whose data can't be reached raises an alarm while the run trains, instead of a failure after it."""

import pytest
from tiny_run import of, read_events
from waiting import LIMIT_S

from finetop.core.errors import NotFound
from finetop.core.protocol import events
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime import event_log
from finetop.core.runtime.home import Home
from finetop.core.train import train


def recipe(suite, more=""):
    text = "recipe: 1\nname: run\nextends: lora\ndata: {train: [{path: rows.jsonl}]}\n"
    return resolve_text(f"{text}check: {{general: {{suite: {suite}}}{more}}}\n").recipe


def look(tmp_path, asked):
    log = tmp_path / "events.jsonl"
    looking = train.look_ahead(asked, Home(tmp_path), event_log.EventLog(log))
    if looking is None:
        return None
    looking.join(LIMIT_S)
    assert not looking.is_alive(), "it still looks"
    return of(events.Alarm, read_events(tmp_path))


def test_nothing_is_asked_for_a_suite_with_rows_of_its_own(tmp_path):
    assert look(tmp_path, recipe("quick")) is None


def test_an_unknown_suite_ends_the_run_before_it_begins(tmp_path):
    with pytest.raises(NotFound, match="there is no suite 'quik'"):
        look(tmp_path, recipe("quik"))


@pytest.mark.slow
def test_data_out_of_reach_is_an_alarm_that_names_the_task(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "away.yaml").write_text("suite: 1\nname: away\ntasks:\n  - task: arc_easy\n")
    (alarm,) = look(tmp_path, recipe("away")) or ()
    assert alarm.kind == "suite"
    assert "can't open away: arc_easy" in alarm.text
