"""Two ranks agree, share work, and hold a model in halves that equal a whole one; with gloo on the CPU."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from architectures import MODELS
from gloo_pair import Small
from safetensors.torch import load_file
from waiting import TORCH_LIMIT_S

from finetop.core.models import collectives, quantize, sent_weights
from finetop.core.train.resume import sharded

PAIR = Path(__file__).parents[2] / "rig" / "gloo_pair.py"


def run_pair(*arguments, gpus=""):
    """Run both ranks of the pair; both must succeed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    # freed memory is returned at once
    meeting |= {"CUDA_VISIBLE_DEVICES": gpus, "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
    heard = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    started = [
        subprocess.Popen(
            [sys.executable, str(PAIR), *arguments], env={**os.environ, **meeting, **own}, **heard
        )
        for own in ({"RANK": rank, "LOCAL_RANK": rank} for rank in "01")
    ]
    said = [rank.communicate(timeout=TORCH_LIMIT_S)[0] for rank in started]
    assert [rank.returncode for rank in started] == [0, 0], said


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="two ranks need a GPU each")
def test_a_rank_receives_its_weights_by_nccl():
    run_pair("--gpus", gpus="0,1")


@pytest.mark.slow  # two processes import torch; training on two ranks covers it too
def test_two_ranks_talk_and_hold_a_model_in_halves(tmp_path):
    run_pair(str(tmp_path / "parts"))

    # one process reads the parts that two ranks wrote
    files = list((tmp_path / "parts").iterdir())
    assert {file.suffix for file in files} == {".safetensors"}
    assert len(files) == 2 * 4  # 200 bytes each, plus the rest of the last tensor
    assert all(sum(one.nbytes for one in load_file(file).values()) < 300 for file in files)
    names, whole = json.loads((tmp_path / "names.json").read_text()), torch.load(tmp_path / "whole.pt")
    model = Small()
    sharded.read_weights(model, names, tmp_path / "parts")
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, whole[name]), name
    state = {index: {} for index in range(len(list(model.parameters())))}
    sharded.read_state(state, names, list(model.parameters()), tmp_path / "parts")
    for weight, values in zip(model.parameters(), state.values(), strict=True):
        assert values.keys() == {"exp_avg", "exp_avg_sq"}
        assert values["exp_avg"].shape == weight.shape and values["exp_avg"].any()


def test_alone_nothing_is_exchanged():
    assert collectives.gathered(3) == [3]
    assert collectives.from_first(lambda: 4) == 4
    assert collectives.largest([5, True]) == [5, 1]
    assert list(collectives.own_share([1, 2])) == [1, 2]
    assert collectives.in_order([[1, 2, 3]]) == [1, 2, 3]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_without_numbers_has_the_places_of_one_that_was_read(name, tmp_path):
    """For every architecture: names, shapes and formats of weights and buffers, including those that are in no file."""
    from transformers import AutoConfig, AutoModelForCausalLM

    made = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **MODELS[name]), dtype=torch.bfloat16)
    made.save_pretrained(tmp_path)
    base = SimpleNamespace(path=tmp_path, quantize="none")
    read, empty = (
        AutoModelForCausalLM.from_pretrained(
            tmp_path, dtype=torch.bfloat16, **quantize.quantized(base, torch.bfloat16, device)
        )
        for device in ("cpu", sent_weights.NOWHERE)
    )
    senders = [sent_weights.Sender(model) for model in (read, empty)]
    places = [sender._places(model) for sender, model in zip(senders, (read, empty), strict=True)]
    assert places[0] == places[1] and len(places[0]) > 10
    assert len(senders[0].tied) == len(senders[1].tied) <= 1
    assert all(weight.is_meta for weight in (*empty.parameters(), *empty.buffers()))
    assert not any(weight.is_meta for weight in (*read.parameters(), *read.buffers()))
    assert getattr(empty, "hf_device_map", None) is None  # else the trainer would see it as spread out
    assert empty.generation_config.to_dict() == read.generation_config.to_dict()
