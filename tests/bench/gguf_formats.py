"""The GGUF formats of the small real model beside transformers in float32: size, nats/token, KL, answers.

    FINETOP_TEST_MODEL=FOLDER python tests/bench/gguf_formats.py [--quant all] [--page docs/gguf.md]

FOLDER has SmolLM2-135M-Instruct. --page puts the table into a page, after <!-- table -->; speeds are printed.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import bench

from finetop.core.features.export.gguf_writer import convert, token_proof, writer
from finetop.core.models.llama_cpp.quants import quants_of
from finetop.core.runtime.event_log import EventLog
from finetop.core.wording.units import size_word

MARK, END = "<!-- table -->", "\n\nThe table is of"
TEXT = Path(__file__).parents[2] / "core" / "check" / "suites" / "quick"


def main() -> None:
    args = bench.options(__doc__, quant="f32,f16,bf16,q8_0,q6_k,q5_k_m,q4_k_m,q3_k_m", page=Path)
    model = os.environ.get("FINETOP_TEST_MODEL")
    if not model:
        bench.skip("FINETOP_TEST_MODEL names no folder with SmolLM2-135M-Instruct")
    from transformers import AutoConfig, AutoTokenizer

    folder = Path(model)
    config, tokenizer = AutoConfig.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    writer.require_writable(config)
    source = writer.source_of(folder, config, tokenizer, "smollm2")
    with tempfile.TemporaryDirectory() as place:
        aside = Path(place)
        source = source.with_rule(token_proof.find_rule(source, aside / "vocabulary"))
        (text,) = (file.read_text(encoding="utf-8") for file in TEXT.glob("*.txt"))
        events = EventLog(aside / "events.jsonl")
        converted = convert.convert(source, folder, aside, quants_of(args.quant), text, "cpu", events)
    print("\n".join(converted.faults or convert.lines_of(converted, {})))
    lines = [
        "| format | size | nats/token | KL | same likeliest token | answers alike |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for file in converted.files:
        measured = file.measured
        alike = measured.answers - measured.answers_differ
        mix = f", {file.mix}" if file.mix else ""
        lines.append(
            f"| `{file.quant}`{mix} | {size_word(file.bytes)} | {measured.nats:.4f} | {max(measured.kl, 0):.1g}"
            f" | {100 * measured.same_first:.1f} % | {alike} of {measured.answers} |"
        )
    print("\n".join(lines))
    bench.put_into(args.page, MARK, lines, END)


if __name__ == "__main__":
    main()
