"""The conversion of the demo model: bit-identical to the weights that transformers reads from the same GGUF file."""

from __future__ import annotations

from pathlib import Path

import gguf_file
import numpy
import pytest
import torch

from finetop.core.models import demo_model
from finetop.core.runtime.event_log import EventLog

WIDTH, INNER, HEADS, GROUPS, LAYERS = 128, 64, 4, 2, 2
WORDS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *"abcdefgh", "ab"]


def write(file: Path) -> Path:
    """Write a tiny Llama like the packaged model: linear layers in 4 bits, embeddings in 8, norms unquantized."""
    from gguf import GGMLQuantizationType as Kind
    from gguf.quants import quantize

    sizes = {"width": WIDTH, "inner": INNER, "heads": HEADS, "groups": GROUPS, "layers": LAYERS}
    writer = gguf_file.begin(file, WORDS, ["a b"], "smollm", special=[0, 1, 2], **sizes)
    kept = WIDTH * GROUPS // HEADS
    shapes = {"attn_q": (WIDTH, WIDTH), "attn_k": (kept, WIDTH), "attn_v": (kept, WIDTH), "attn_output": (WIDTH, WIDTH),
              "ffn_gate": (INNER, WIDTH), "ffn_up": (INNER, WIDTH), "ffn_down": (WIDTH, INNER)}  # fmt: skip
    random = numpy.random.default_rng(1)

    def add(name: str, shape: tuple[int, ...], kind: Kind) -> None:
        drawn = random.normal(size=shape).astype(numpy.float32)
        writer.add_tensor(f"{name}.weight", quantize(drawn, kind), raw_dtype=kind)

    add("token_embd", (len(WORDS), WIDTH), Kind.Q8_0)
    add("output_norm", (WIDTH,), Kind.F32)
    for layer in range(LAYERS):
        for part in ("attn_norm", "ffn_norm"):
            add(f"blk.{layer}.{part}", (WIDTH,), Kind.F32)
        for part, shape in shapes.items():
            add(f"blk.{layer}.{part}", shape, Kind.Q4_1)
    gguf_file.finish(writer)
    return file


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_weights_are_those_that_transformers_reads(tmp_path, monkeypatch):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gguf = write(tmp_path / "model.gguf")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=gguf.name, dtype=torch.float32)
    config = theirs.config
    del config.quantization_config
    config.save_pretrained(tmp_path / "known")
    monkeypatch.setattr(demo_model, "KNOWN", tmp_path / "known")
    demo_model.convert(gguf, tmp_path / "made", EventLog(tmp_path / "events.jsonl"))
    ours = AutoModelForCausalLM.from_pretrained(tmp_path / "made")
    assert ours.dtype == torch.bfloat16
    wanted = {name: weight.to(torch.bfloat16) for name, weight in theirs.state_dict().items()}
    found = ours.state_dict()
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if not torch.equal(found[name], wanted[name])] == []
    assert ours.generation_config.eos_token_id == 2
    assert AutoTokenizer.from_pretrained(tmp_path / "made")("abc").input_ids
