"""The real supervisor with other programs as its jobs: small Python scripts, without torch."""

import json
import os
import subprocess
import sys

import pytest
from rig import MARK, Rig

from finetop.core.protocol.messages.runs import Sql
from finetop.core.runtime.home import Home, prepare

SETTINGS = "settings: 1\nretry: {times: 1, wait_s: 0}\nslots: {cpu_jobs: 8}\n"
# Reports steps FIRST to LAST, then ends; with HOLD it goes on until it is signalled.
TRAIN = """
import json, os, sys, time
first, last, *hold = sys.argv[1:]
with open(os.environ["FINETOP_METRICS"], "a", buffering=1) as file:
    for step in range(int(first), int(last) + 1):
        print(json.dumps({"step": step, "loss": 1.0 / step, "total_steps": 8}), file=file)
print("reported", flush=True)
while hold:
    time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def station(request, tmp_path_factory):
    """A home with the real supervisor, for the tests of one file, which may have its own SETTINGS."""
    rig = Rig(Home(tmp_path_factory.mktemp("station")))
    prepare(rig.home)
    (rig.home.root / "settings.yaml").write_text(getattr(request.module, "SETTINGS", SETTINGS))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("HF_HUB_OFFLINE", "1"), ("OMP_NUM_THREADS", "1"), ("CUDA_VISIBLE_DEVICES", "")):
            patch.setenv(name, value)
        with rig.home.log.open("ab") as log:
            program = [sys.executable, "-m", "finetop.core.supervisor", "--home", str(rig.home.root)]
            env = {**os.environ, MARK: str(rig.home.root)}
            rig.processes.append(
                subprocess.Popen(program, stdout=log, stderr=log, start_new_session=True, env=env)
            )
        rig.wait_ready()
        yield rig
    rig.stop_all()


@pytest.fixture
def finetop(station, finetop_of, tmp_path, monkeypatch):
    """Run one command in the test's folder, where train.py lies."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(TRAIN)
    return finetop_of(station.home)


@pytest.fixture
def queue(finetop, request):
    """Queue a command under the test's name, or another; return the run's name. It must be accepted."""

    def queue_it(*words, options=(), name=request.node.name):
        code, out, err = finetop("run", "--name", name, *options, "--json", "--", *words)
        assert code == 0, err
        return json.loads(out)["run"]

    return queue_it


@pytest.fixture
def losses(station):
    """Return a function that lists a run's loss as stored: each row, in the order of steps."""

    def of(name):
        query = "SELECT m.step, m.value FROM metrics m JOIN runs r ON r.id = m.run_id"
        query += f" WHERE m.key = 'loss' AND r.name = '{name}' ORDER BY m.step"
        return [(step, round(value, 4)) for step, value in station.ask(Sql(query, 1000)).rows]

    return of


@pytest.fixture
def base(tmp_path):
    """A base model by its configuration and the headers of its weights."""
    import numpy
    from safetensors.numpy import save_file

    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps({"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 1})
    )
    weights = {"model.layers.0.mlp.down_proj.weight": numpy.zeros((8, 16), "float32")}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def adapter(base, tmp_path):
    """An adapter of that base as PEFT writes it, which programs copy."""
    import numpy
    from safetensors.numpy import save_file

    folder = tmp_path / "adapter"
    folder.mkdir()
    prefix = "base_model.model.model.layers.0.mlp.down_proj"
    shapes = {f"{prefix}.lora_A.weight": (2, 16), f"{prefix}.lora_B.weight": (8, 2)}
    weights = {name: numpy.ones(shape, "float32") for name, shape in shapes.items()}
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": str(base), "r": 2}
    (folder / "adapter_config.json").write_text(json.dumps({**config, "target_modules": ["down_proj"]}))
    return folder
