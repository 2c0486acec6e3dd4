"""Two ranks that communicate and shard weights, without a trainer: tests core/models/collectives.py and shards.py.

RANK=… WORLD_SIZE=2 LOCAL_RANK=… MASTER_ADDR=… MASTER_PORT=… python gloo_pair.py FOLDER | --gpus

With --gpus each rank has its own GPU and receives weights by NCCL; the rest runs on the CPU.
"""

import json
import sys
from functools import partial
from pathlib import Path

import torch

from finetop.core.check.scoring import turns
from finetop.core.models import collectives, shards
from finetop.core.runtime import ranks
from finetop.core.runtime.stop_signal import StopAsked
from finetop.core.train.resume import sharded


class Layer(torch.nn.Linear):
    """The unit that is gathered at once."""


class Small(torch.nn.Module):
    """An embedding, two layers of five by five, and a head tied to the embedding."""

    _no_split_modules = ("Layer",)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Embedding(7, 5)
        self.layers = torch.nn.ModuleList(Layer(5, 5) for _ in range(2))
        self.head = torch.nn.Linear(5, 7, bias=False)
        self.head.weight = self.embedding.weight

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.embedding

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.head

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = self.embedding(ids)
        for layer in self.layers:
            hidden = layer(hidden).tanh()
        return self.head(hidden)


def main() -> None:
    if sys.argv[1] == "--gpus":
        device = f"cuda:{ranks.own().local}"
        receive(collectives.join(device).number, device)
        collectives.leave()
        return
    rank = collectives.join("cpu")
    talk(rank.number)
    divide(rank.number)
    compute_in_16_bits(rank.number)
    take_turns(rank.number)
    add_up_energy(rank.number)
    receive(rank.number)
    take_little_memory(rank.number)
    write_parts(rank.number, Path(sys.argv[1]))
    collectives.leave()


def talk(rank: int) -> None:
    assert collectives.gathered(f"of {rank}") == ["of 0", "of 1"]
    assert collectives.from_first(lambda: rank + 10) == 10
    assert collectives.largest([rank, 5 - rank]) == [1, 5]
    items = list("abcde")
    own = [item.upper() for item in collectives.own_share(items)]
    assert collectives.in_order(collectives.gathered(own)) == list("ABCDE")
    try:
        collectives.from_first(fail)
    except OSError as error:
        assert error.errno == 28  # a full disk of the first rank is everybody's error
    else:
        raise AssertionError("the error of rank 0 is not raised")


def add_up_energy(rank: int) -> None:
    """Each rank reads its own GPU; the exchange that every step makes anyway gives the first the sum."""
    from types import SimpleNamespace

    from finetop.core.train import callbacks, meter as meters
    from finetop.core.train.intervals import Ration

    counted = [1000.0 * (rank + 1)]
    meters.energy_counter = lambda device: lambda: counted[0]
    meters.gpu_facts = lambda device: {}
    log, alarms = SimpleNamespace(), SimpleNamespace(begin=lambda steps: None)
    meter = meters.Meter(log, "cuda:0", {}, alarms, energy_wh=5.0)
    begun = SimpleNamespace(global_step=0, num_input_tokens_seen=0, max_steps=9)
    meter.on_train_begin(None, begun, None)
    pacer = SimpleNamespace(
        is_first=rank == 0, drift=Ration(1), samples=Ration(1), stop=SimpleNamespace(reason=""), meter=meter
    )
    for wh in (2.0, 3.0):
        counted[0] += 3600 * wh * (rank + 1)
        meter._look_at_gpu(meter.began + 1.0)
        callbacks.Pacer._agree(pacer, 1)
    assert abs(meter.energy_wh - (5.0 + 5.0 + 10.0)) < 1e-6, meter.energies


def compute_in_16_bits(rank: int) -> None:
    """Trained weights are still held in float32, and saved in the compute format; resuming needs all digits."""
    model = shards.divide(Small().bfloat16(), "cpu", torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    model(torch.tensor([[1, 2, 3]])).float().square().mean().backward()
    optimizer.step()
    saved, held = shards.state_of(model), shards.state_of(model, rounded=False)
    assert shards.is_rounded(model)
    if rank == 0:
        assert {weight.dtype for weight in saved.values()} == {torch.bfloat16}
        assert {weight.dtype for weight in held.values()} == {torch.float32}
        assert all(torch.equal(held[name].bfloat16(), weight) for name, weight in saved.items())
        moved = held["layers.0.weight"] != Small().bfloat16().float().state_dict()["layers.0.weight"]
        assert moved.all()  # in bfloat16 most would not change


class Wide(Small):
    """The same with an attribute that is in no file, eight layers of 4 MB each in bfloat16, and its own head."""

    def __init__(self, width: int = 5, layers: int = 2, *, tied: bool = True) -> None:
        super().__init__()
        self.register_buffer("angles", torch.rand(3), persistent=False)
        self.scale = torch.rand(2)  # neither a parameter nor a buffer
        self.embedding = torch.nn.Embedding(7, width)
        self.layers = torch.nn.ModuleList(Layer(width, width) for _ in range(layers))
        self.head = torch.nn.Linear(width, 7, bias=False)
        if tied:
            self.head.weight = self.embedding.weight


def receive(rank: int, device: str = "cpu") -> None:
    """A rank that built its model without weights receives those of the first, to the last bit."""
    for tied in (True, False):
        for dtype in (torch.float32, torch.bfloat16):
            for moving in (True, False):
                with torch.device("meta" if rank else "cpu"):
                    model = Wide(tied=tied).to(dtype)
                model.layers[0].requires_grad_(moving)
                divided = shards.divide(model, device, dtype)
                alone = Wide(tied=tied).to(dtype)
                assert str(divided.scale.device) == "cpu"
                assert str(divided.angles.device) == device
                assert torch.equal(divided.angles.cpu(), alone.angles)
                assert torch.equal(divided.scale, alone.scale)
                assert divided.angles.dtype == alone.angles.dtype
                assert (divided.head.weight is divided.embedding.weight) is tied
                assert divided.layers[0].weight.requires_grad is moving
                for name, weight in divided.named_parameters():
                    assert weight.dtype == torch.float32, name
                    assert torch.equal(weight.full_tensor().cpu(), alone.get_parameter(name).float()), name
                divided(torch.tensor([[1, 2, 3]], device=device)).float().square().mean().backward()
    with torch.device("meta" if rank else "cpu"):
        model = Wide(layers=2 + rank)
    try:
        shards.divide(model, device, torch.bfloat16)
    except RuntimeError as error:
        assert "different models" in str(error)
    else:
        raise AssertionError("two models are taken for one")


def take_little_memory(rank: int) -> None:
    """No rank holds the whole model in float32: only its half and one layer, and the reader the model in 16 bits."""
    width, layers = 1448, 16  # 134 MB in float32

    def held(device: str) -> float:
        """Return the most a process holds while a model is sharded, as a share of the model in float32."""
        before = memory_of("VmRSS")
        with torch.device(device):
            model = Wide(width, layers).bfloat16()
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
        divided = shards.divide(model, "cpu", torch.bfloat16)
        assert len(list(divided.layers)) == layers
        return (memory_of("VmHWM") - before) / (4 * layers * width**2)

    assert held("cpu") < 0.8  # both have read it
    assert held("meta" if rank else "cpu") < 0.8


def memory_of(key: str) -> int:
    """Return a line of /proc/self/status in bytes."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith(key))


def take_turns(rank: int) -> None:
    """Each piece of a score is computed on one rank, and all ranks get all; a stop on one stops all."""
    done: list[int] = []

    def piece(number: int) -> int:
        done.append(number)
        if number == 7:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return number * number

    def share(numbers: range, **more: bool) -> list[int]:
        return turns.take_turns((partial(piece, number) for number in numbers), **{"shares": True, **more})

    assert share(range(5)) == [0, 1, 4, 9, 16]
    assert done == ([0, 2, 4], [1, 3])[rank]
    assert share(range(2), shares=False) == [0, 1]
    for numbers, error, stops in (
        (range(6, 9), torch.OutOfMemoryError, False),
        (range(3), StopAsked, rank == 1),
    ):
        try:
            turns.take_turns((partial(piece, n) for n in numbers), shares=True, stops=partial(bool, stops))
        except error as raised:
            assert error is StopAsked or "rank 1" in str(raised)
        else:
            raise AssertionError(f"{error} is not raised")


def trained(model: torch.nn.Module, ids: torch.Tensor) -> torch.optim.AdamW:
    """Take three steps, the same on every rank."""
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    for _ in range(3):
        model(ids).float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return optimizer


def write_parts(rank: int, folder: Path) -> None:
    """Each rank writes its half of the state, and reads it back; one process reads it whole."""
    model = shards.divide(Small().bfloat16(), "cpu", torch.bfloat16)
    state = trained(model, torch.tensor([[1, 2, 3], [4, 5, 6]])).state_dict()["state"]
    sharded.PART_BYTES = 200
    names = sharded.save(model, state, folder)
    rest = sharded.without(state, names)
    assert all(values.keys() == {"step"} for values in rest.values())
    fresh = shards.divide(Small().bfloat16(), "cpu", torch.bfloat16)
    sharded.read_weights(fresh, names, folder)
    sharded.read_state(rest, names, list(fresh.parameters()), folder)
    for one, other in zip(fresh.parameters(), model.parameters(), strict=True):
        assert torch.equal(shards.local(one), shards.local(other))
    for index, values in state.items():
        for key in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(shards.local(rest[index][key]), shards.local(values[key])), key
    whole = shards.state_of(model, rounded=False)
    if rank == 0:
        torch.save({name: tensor.clone() for name, tensor in whole.items()}, folder.with_name("whole.pt"))
        folder.with_name("names.json").write_text(json.dumps(names))


def fail() -> None:
    raise OSError(28, "No space left on device")


def divide(rank: int) -> None:
    ids = torch.tensor([[1, 2, 3], [4, 5, 6]])
    alone, divided = Small(), shards.divide(Small(), "cpu", torch.float32)
    optimizers = [torch.optim.AdamW(model.parameters(), 0.01) for model in (alone, divided)]
    for _ in range(3):
        alone(ids).square().mean().backward()
        divided(ids[rank : rank + 1]).square().mean().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    whole = shards.state_of(divided)
    states = shards.whole(optimizers[1].state_dict())
    with shards.put_together(divided) as fits:
        assert fits
        if rank == 0:  # a forward pass of one rank needs no other
            assert torch.allclose(divided(ids), alone(ids), atol=1e-5)
    if rank == 0:
        assert whole.keys() == alone.state_dict().keys()
        assert whole["head.weight"] is whole["embedding.weight"]
        for name, weight in alone.state_dict().items():
            assert torch.allclose(whole[name], weight, atol=1e-5), name
        for index, values in optimizers[0].state_dict()["state"].items():
            assert torch.allclose(states["state"][index]["exp_avg"], values["exp_avg"], atol=1e-6)
    fresh = shards.divide(Small(), "cpu", torch.float32)
    shards.fill(dict(fresh.named_parameters()), dict(alone.named_parameters()))
    again = shards.state_of(fresh)
    if rank == 0:
        for name, weight in alone.state_dict().items():
            assert torch.equal(again[name], weight), name


if __name__ == "__main__":
    main()
