"""Two real runs on one card through the queue: stopped, killed and resumed, a chat and an export beside them.

The same story runs on a CPU, so that the test itself is tried where there is no GPU.
"""

import json

import pytest
import tiny_run
from typed import LAMPS, finetop_in
from waiting import wait_until

NAMES = ("first", "second")
STEPS = 100_000  # more than it gets to: it is stopped and killed
# Not the card's own format: what is exported is wider than what was trained.
EXPORTED = "float32"


@pytest.fixture
def finetop(tmp_path):
    """Run one command in a process of its own, with room for two jobs; runs and supervisor end with the test."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "settings.yaml").write_text("settings: 1\nretry: {times: 0}\nslots: {cpu_jobs: 3}\n")
    run = finetop_in(tmp_path)
    yield run
    run("kill", *NAMES, "--yes")  # they outlive a supervisor
    run("supervisor", "stop")


@pytest.mark.parametrize(
    "where",
    [
        pytest.param("cpu", marks=pytest.mark.slow),
        pytest.param("gpu", marks=pytest.mark.gpu(needs="driver", packages=("duckdb", "trl", "datasets"))),
    ],
)
def test_two_runs_share_a_card_and_one_is_stopped_killed_and_resumed(
    finetop, tiny_model, tmp_path, where, request
):
    if where == "cpu":  # a process that has begun CUDA can't be forked
        request.getfixturevalue("warm")
    tiny_run.write_rows(tmp_path / "rows.jsonl", LAMPS)
    budget = {"memory_gib": 2.0} if where == "gpu" else {}
    for name in NAMES:
        own = {"name": name, "budget": budget, "model": {"dtype": "auto"}}
        train = {"train": {"max_steps": STEPS, "save_every": 20, "keep_checkpoints": None}}
        text = tiny_run.recipe_text(tiny_model, tmp_path / "rows.jsonl", own, train)
        (tmp_path / f"{name}.yaml").write_text(text)
        code, _, err = finetop("run", f"{name}.yaml")
        assert code == 0, err

    def run_of(name):
        return json.loads(finetop("show", name, "--json")[1])["run"]

    def reaches(name, step):
        def is_there():
            row = run_of(name)["row"]
            assert row["state"]["type"] in ("queued", "running"), row["state"]
            return row["state"]["type"] == "running" and (row["step"] or 0) >= step

        wait_until(is_there, lambda: json.dumps(run_of(name)["row"]))

    def ends(name, word):
        wait_until(
            lambda: run_of(name)["row"]["state"]["type"] == word, lambda: json.dumps(run_of(name)["row"])
        )

    reaches("first", 21)
    reaches("second", 21)
    assert run_of("first")["row"]["state"]["type"] == "running", "both at once"
    if where == "gpu":
        assert run_of("first")["device"] == run_of("second")["device"]

    code, said, err = finetop("chat", "first", "--plain", "--max-new-tokens", "4", stdin="Who mends lamps?\n")
    assert code == 0 and said.strip(), err

    assert finetop("stop", "first", "--yes")[0] == 0
    ends("first", "stopped")
    stopped = run_of("first")["checkpoints"][-1]["step"]
    assert finetop("kill", "second", "--yes")[0] == 0
    ends("second", "stopped")
    for name in NAMES:
        code, _, err = finetop("resume", name)
        assert code == 0, err
    reaches("first", stopped + 1)
    kept = run_of("second")["checkpoints"][-1]["step"]
    reaches("second", kept + 1)

    code, _, err = finetop("export", "second", "--to", str(tmp_path / "out"), "--dtype", EXPORTED)
    assert code == 0, err
    wrote = json.loads((tmp_path / "out" / "config.json").read_text())
    assert wrote.get("dtype", wrote.get("torch_dtype")) == EXPORTED
    assert run_of("first")["row"]["state"]["type"] == "running", "the export was beside it"
