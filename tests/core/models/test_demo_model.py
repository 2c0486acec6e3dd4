"""The conversion of the demo model: bit-identical to the weights that transformers reads from the same GGUF file."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch

from finetop.core.models import demo_model
from finetop.core.runtime.event_log import EventLog

WIDTH, INNER, HEADS, GROUPS, LAYERS = 128, 64, 4, 2, 2
WORDS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *"abcdefgh", "ab"]


def write(file: Path) -> Path:
    """Write a tiny Llama like the packaged model: linear layers in 4 bits, embeddings in 8, norms unquantized."""
    from gguf import GGMLQuantizationType as Kind, GGUFWriter
    from gguf.quants import quantize

    writer = GGUFWriter(file, "llama")
    writer.add_name("tiny")
    writer.add_block_count(LAYERS)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(GROUPS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(WORDS)
    writer.add_token_types([3, 3, 3] + [1] * (len(WORDS) - 3))
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(2)
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
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
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
