"""The memory that an export of a 4-bit model takes on the machine, phase by phase.

    python tests/bench/export_memory.py [--layers 16] [--page docs/gpu.md]

A Llama of random weights, 2,048 wide (0.9 billion numbers with 16 layers), with a LoRA adapter in nf4, is merged and
written in 16 bits. The machine stands in for the GPU too: the 4-bit model, and the memory for generating from the
exported one, are on the GPU if there is one. The merge's own memory is the difference between the phases. Peaks are
the kernel's (VmHWM). --page puts the table into a page, after <!-- export -->.
"""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path
from typing import Any

import bench

from finetop.core.protocol.events import Phase
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home

MARK, END = "<!-- export -->", "\n\n## What writes answers"
WIDTH, SHARD = 2048, "300MB"
TEXT = "The shop opens at nine, and closes at six. We mend radios, lamps and clocks in the old mill. " * 200


class Peaks(EventLog):
    """Records the peak memory of each phase instead of writing it."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self.rows: list[tuple[str, float, float]] = []
        self.phase, self.there = "", 0.0

    def write(self, event: Any) -> None:
        if isinstance(event, Phase) and event.name != self.phase:
            self.turn(event.name)

    def turn(self, name: str) -> None:
        if self.phase:
            self.rows.append((self.phase, self.there, bench.memory_mb("self", "VmHWM") / 1024))
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")
        self.phase, self.there = name, bench.memory_mb("self") / 1024


def make(folder: Path, layers: int) -> None:
    """Write a model and its tokenizer, and an adapter for it."""
    import conftest
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    conftest.build_tiny_model(folder / "tiny")
    tokenizer = AutoTokenizer.from_pretrained(folder / "tiny")
    config = LlamaConfig(
        vocab_size=32_000, hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=layers,
        num_attention_heads=16, num_key_value_heads=4, max_position_embeddings=512, tie_word_embeddings=False,
    )  # fmt: skip
    model: Any = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder / "base", max_shard_size=SHARD)
    tokenizer.save_pretrained(folder / "base")
    tuned = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=16, target_modules="all-linear"))
    tuned.save_pretrained(folder / "adapter")
    tokenizer.save_pretrained(folder / "adapter")


def main() -> None:
    args = bench.options(__doc__, layers=16, page=Path)
    import multiprocessing

    from finetop.core.features.export import export
    from finetop.core.models import devices
    from finetop.core.recipe.load import recipe_from_mapping

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        process = multiprocessing.get_context("spawn").Process(target=make, args=(folder, args.layers))
        process.start()
        process.join()
        devices.import_libraries("transformers")
        recipe = recipe_from_mapping(
            {
                "recipe": 1,
                "name": "large",
                "model": {"id": str(folder / "base"), "dtype": "bfloat16", "quantize": "nf4"},
                "method": {"name": "lora"},
                "objective": {"name": "sft"},
                "data": {"train": [{"path": str(folder / "rows.jsonl")}]},
            }
        )
        request = export.ExportRequest(
            recipe, "large", 1, folder / "adapter", folder / "out", "bfloat16", "cpu"
        )
        peaks = Peaks(folder / "events.jsonl")
        export.export(request, TEXT, Home(folder / "home"), peaks)
        peaks.turn("")
        size = sum(file.stat().st_size for file in (folder / "out").glob("*.safetensors")) / 2**30
    lines = ["| phase | at its start, GiB | at most, GiB | added |", "|---|--:|--:|--:|"]
    lines += [
        f"| {name} | {there:.2f} | {peak:.2f} | {peak - there:.2f} |" for name, there, peak in peaks.rows
    ]
    lines.append(f"| *the written files* | | {size:.2f} | |")
    print("\n".join(lines))
    bench.put_into(args.page, MARK, lines, END)


if __name__ == "__main__":
    main()
