"""What is saved is read back unchanged, without pickle; damage is reported."""

import math
import random

import numpy
import pytest
import torch

from finetop.core.errors import EnvironmentTrouble
from finetop.core.train.resume import random_state, state_files


def test_a_tree_comes_back_as_it_was(tmp_path):
    table = torch.arange(256.0)
    row = torch.arange(12.0).view(3, 4)
    tree = {
        "state": {
            0: {"step": torch.tensor(3.0), "codes": torch.tensor([1, 2], dtype=torch.uint8), "table": table}
        },
        "other": {1: {"table": table, "part": row[1:], "turned": row.T}},
        "groups": [{"lr": 1e-4, "betas": (0.9, 0.95), "fused": None, "name": "ü", "on": True}],
        "none": torch.empty(0),
        "nan": math.nan,
    }
    state_files.save(tree, tmp_path)
    found = state_files.load(tmp_path)
    assert found["groups"] == tree["groups"]
    assert math.isnan(found["nan"])
    assert found["state"][0]["codes"].dtype == torch.uint8
    assert found["state"][0]["table"] is found["other"][1]["table"]
    for path in (("state", 0, "step"), ("other", 1, "part"), ("other", 1, "turned"), ("state", 0, "table")):
        wanted, here = tree, found
        for key in path:
            wanted, here = wanted[key], here[key]
        assert torch.equal(wanted, here), path
    assert {file.name for file in tmp_path.iterdir()} == {"state.json", "tensors.safetensors"}


def test_what_is_no_number_is_refused_and_what_is_damaged_told(tmp_path):
    with pytest.raises(TypeError, match="a set can't be kept"):
        state_files.save({"a": {1}}, tmp_path)
    state_files.save({"a": torch.ones(2)}, tmp_path)
    for name in ("state.json", "tensors.safetensors"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(EnvironmentTrouble, match="the trainer's state can't be read"):
            state_files.load(tmp_path)
        (tmp_path / name).write_bytes(whole)


def test_random_numbers_go_on_where_they_were(tmp_path):
    def draw():
        return (
            random.random(),
            float(numpy.random.rand()),
            torch.rand(3).tolist(),
            float(numpy.random.normal()),
        )

    random_state.seed(4)
    draw()
    state_files.save(random_state.now(), tmp_path)
    wanted = [draw(), draw()]
    random_state.seed(5)
    random_state.put_back(state_files.load(tmp_path))
    assert [draw(), draw()] == wanted
