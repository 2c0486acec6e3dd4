"""Jobs in Slurm, nothing faked but the cluster: trained, requeued on the way, checked; its curve is that of here.

Exports, remedies and approaches go there too.
"""

import json

import pytest
from typed import LAMPS, finetop_in
from waiting import TORCH_LIMIT_S, wait_until


@pytest.fixture
def finetop(tmp_path, cluster):
    """Run one command in a process of its own; the supervisor ends with the test."""
    cluster.clear()
    (tmp_path / "home").mkdir(mode=0o700)
    run = finetop_in(tmp_path, **cluster.variables)
    yield run
    run("supervisor", "stop")
    cluster.clear()


def losses(finetop, name):
    code, out, err = finetop(
        "sql", f"SELECT m.step, m.value FROM metrics m JOIN runs r ON r.id = m.run_id WHERE r.name = '{name}'"
        " AND m.key = 'loss' ORDER BY m.step", "--csv",
    )  # fmt: skip
    assert code == 0, err
    return out.splitlines()[1:]


def queued(finetop, tmp_path, tiny_model, more="", steps=400):
    """Queue a run in Slurm."""
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in LAMPS))
    (tmp_path / "mine.yaml").write_text(
        f"recipe: 1\nextends: lora\nname: mine\nmodel: {{id: {tiny_model}, dtype: float32}}\n"
        "data: {train: [{path: rows.jsonl}]}\n"
        f"train: {{max_steps: {steps}, batch_size: 2, grad_accumulation: 2, save_every: 20}}\nsamples: {{count: 0}}\n"
        f"{more}"
    )
    (tmp_path / "home" / "settings.yaml").write_text("settings: 1\nslurm: {partition: main}\n")
    code, out, err = finetop("run", "mine.yaml", "--name", "there")
    assert code == 0, out + err


def shown(finetop):
    return json.loads(finetop("show", "there", "--json")[1])["run"]


def requeued_and_ended(finetop, cluster):
    """Wait until the run trains, queue its job again, and wait for its end and the check behind it."""
    wait_until(lambda: shown(finetop)["row"]["step"] >= 30, cluster.log, TORCH_LIMIT_S)
    number = next(job for job, state, said in cluster.jobs() if "there" in said and state == "RUNNING")
    assert cluster.call("scontrol", "requeue", number) is not None
    run = wait_until(lambda: (run := shown(finetop)) and run["checks"] and run, cluster.log, TORCH_LIMIT_S)
    assert run["row"]["state"]["type"] == "finished", run
    assert [job["verb"] for job in run["jobs"]] == ["train", "check"], (
        "one job went on, and its check followed"
    )
    assert run["jobs"][0]["attempt"] == 1
    return run


def events_of(tmp_path, run):
    return (tmp_path / "home" / run["folder"] / run["jobs"][0]["folder"] / "events.jsonl").read_text()


@pytest.mark.slow
def test_a_run_on_two_nodes_is_requeued_and_goes_on_on_both(finetop, cluster, tiny_model, tmp_path):
    queued(finetop, tmp_path, tiny_model, "budget: {nodes: 2, gpus: 0}\n")
    run = requeued_and_ended(finetop, cluster)
    events = events_of(tmp_path, run)
    assert events.count('"type":"started"') == 2 and events.count('"type":"resumed"') == 1
    assert events.count('"type":"ended"') == 1 + events.count('"status":"stopped"')
    assert len(losses(finetop, "there")) == 400
    folder = tmp_path / "home" / run["folder"] / run["jobs"][0]["folder"]
    assert sorted(file.name for file in (folder / "ranks").iterdir()) == ["0.json", "1.json"]


@pytest.mark.slow
def test_a_run_that_is_requeued_trains_as_one_that_never_was(finetop, cluster, tiny_model, tmp_path):
    queued(finetop, tmp_path, tiny_model)
    run = requeued_and_ended(finetop, cluster)
    events = events_of(tmp_path, run)
    assert events.count('"type":"started"') == 2 and events.count('"type":"resumed"') == 1
    (tmp_path / "home" / "settings.yaml").write_text("settings: 1\n")
    assert finetop("run", "mine.yaml", "--name", "here", "--wait")[0] == 3  # random weights: NO VERDICT
    assert losses(finetop, "there") == losses(finetop, "here")
    assert len(losses(finetop, "there")) == 400


@pytest.mark.slow
def test_exports_remedies_and_approaches_go_there_too(finetop, cluster, tiny_model, tmp_path):
    def all_jobs():
        return {job: (state, said) for job, state, said in cluster.jobs()}

    before = all_jobs()
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in LAMPS[:8]))
    target = "check: {target: {path: test.jsonl, metric: nats_per_token}}\n"
    queued(finetop, tmp_path, tiny_model, target, steps=20)
    wait_until(lambda: shown(finetop)["checks"], cluster.log, TORCH_LIMIT_S)
    code, out, err = finetop("export", "there", "--to", str(tmp_path / "whole"))
    assert code == 0, out + err
    assert (tmp_path / "whole" / "model.safetensors").exists()
    code, out, err = finetop("remedy", "there", "--only", "interpolate-0.5", "--wait", "--json")
    assert json.loads(out)["remedies"]["job"]["type"] == "finished", (
        err
    )  # random weights have nothing to forget
    verbs = [job["verb"] for job in shown(finetop)["jobs"]]
    assert verbs == ["train", "check", "export", "remedy"]
    code, out, err = finetop(
        "approaches", "mine.yaml", "--only", "prompt,lora", "--seeds", "1", "--set", "train.max_steps=5",
        "--set", "approaches.metric=nats_per_token", "--name", "side", "--wait",
    )  # fmt: skip
    assert code == 0, out + err
    there = {number: job for number, job in all_jobs().items() if number not in before}

    def all_are_taken_in():  # Slurm may know of an end before the supervisor does
        _, out, _ = finetop("sql", "SELECT count(*) FROM jobs WHERE word = 'finished'", "--csv")
        return out.split()[-1] == str(len(there))

    wait_until(all_are_taken_in, cluster.log, TORCH_LIMIT_S)
    assert len(there) >= len(verbs) + 2, there
    assert {state for state, _ in there.values()} == {"COMPLETED"}, there
