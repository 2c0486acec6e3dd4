"""Paged optimizers: training uses the buffers of the trial step, and they are paged again after a resume.

With a stand-in for bitsandbytes' optimizer: its own pages need a GPU.
"""

import torch

from finetop.core.train import paged

SIZE = 100_000


class Paged:
    """Keeps a state in a buffer for each weight, and every buffer that it created in a list."""

    is_paged = True

    def __init__(self, weights):
        self.weights = weights
        self.made = []
        self.state = {}

    def get_state_buffer(self, weight, dtype):
        self.made.append(torch.zeros(weight.shape, dtype=dtype))
        return self.made[-1]

    def step(self):
        for weight in self.weights:
            if weight not in self.state:
                table = torch.linspace(-1, 1, 256)
                self.state[weight] = {"step": 0, "qmap1": table, "absmax1": torch.zeros(4)}
                self.state[weight]["state1"] = self.get_state_buffer(weight, torch.uint8)
            state = self.state[weight]
            state["step"] += 1
            state["state1"] += 3
            state["absmax1"] += 1.0


def test_an_optimizer_that_was_tried_begins_anew_in_its_buffers():
    optimizer = Paged([torch.nn.Parameter(torch.zeros(SIZE))])
    optimizer.step()
    (state,) = optimizer.state.values()
    buffer, table = state["state1"], state["qmap1"].clone()
    paged.begin_anew(optimizer)
    assert state["step"] == 0 and not buffer.any() and not state["absmax1"].any()
    assert torch.equal(state["qmap1"], table)
    optimizer.step()
    assert state["state1"] is buffer and len(optimizer.made) == 1


def test_loaded_states_are_paged_again_in_the_buffers_that_are_there():
    large, small = (torch.nn.Parameter(torch.zeros(size)) for size in (SIZE, 8))
    optimizer = Paged([large, small])
    optimizer.step()
    before = paged.buffers(optimizer)
    buffer = optimizer.state[large]["state1"]
    for state in optimizer.state.values():  # as load_state_dict leaves it
        state["state1"] = torch.full_like(state["state1"], 7)
    unpaged = optimizer.state[small]["state1"]
    paged.page_again(optimizer, before)
    assert optimizer.state[large]["state1"] is buffer
    assert bool((buffer == 7).all())
    assert optimizer.state[small]["state1"] is unpaged
    paged.page_again(optimizer, {})  # without a trial step: new ones
    assert optimizer.state[large]["state1"] is optimizer.made[-1] and len(optimizer.made) == 3


def test_an_ordinary_optimizer_is_left_alone():
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.AdamW([weight])
    assert not paged.is_paged(optimizer) and not paged.is_paged(None)
    assert paged.buffers(optimizer) == {}
