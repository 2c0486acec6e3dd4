"""What is said of exported files: the verdict, what was lost, the size beside what was trained."""

from __future__ import annotations

import pytest
from exported_files import LOST, OK, exported
from msgspec.structs import replace

from finetop.core.features.export import wording as exports
from finetop.core.protocol.exports import TargetScores


@pytest.mark.parametrize(
    ("file", "line", "beside"),
    [
        (exported(), "q4_k_m: ok -0.4 against what was trained, 2.1x smaller",
         "base 0.612, tuned 0.598, exported 0.594; 320 of 672 items; 21 answers differ: 5 lost, 4 won;"
         " nats_per_token 2.94 -> 0.98 -> 1.01 (worse than tuned: +0.01 to +0.05 at 95 %)"),
        (exported("q2_k", LOST, standing="refused"),
         "q2_k: REGRESSED -12.0 against what was trained, 2.1x smaller, refused",
         "base 0.612, tuned 0.598, exported 0.478; 128 of 672 items; 60 answers differ: 17 lost, 2 won;"
         " lost arith -30.0, arc -4.0"),
        (exported("f32", None, bytes=440_000_000, unasked="--no-check"), "f32: not checked, 2.0x larger",
         "--no-check"),
        (exported("f16", replace(OK, verdict="no_verdict", drop=None, reason="no items."), bytes=220_000_001),
         "f16: NO VERDICT against what was trained, as large", "no items."),
    ],
)  # fmt: skip
def test_a_file_in_words(file, line, beside):
    assert (exports.line(file), exports.beside(file)) == (line, beside)


def test_a_trained_skill_that_fell_is_in_the_first_line():
    lost = {
        "rules": TargetScores((0.0, 0.62, 0.21), -0.68, -0.16),
        "exact_match": TargetScores((0.0, 0.6, 0.59), -0.1, -0.01),
    }
    file = exported(verdict=replace(OK, target={**OK.target, **lost}))
    assert exports.line(file).endswith("2.1x smaller; worse at the target: rules 0.62 -> 0.21")


def test_a_target_is_worse_only_where_that_is_clear():
    for metric, low, high, is_worse in (
        ("nats_per_token", -0.1, 0.2, False), ("exact_match", -0.4, -0.1, True), ("exact_match", 0.1, 0.4, False),
    ):  # fmt: skip
        text = exports.target_words(metric, TargetScores((None, 0.9, 0.7), low, high))
        assert text.startswith(f"{metric} 0.90 -> 0.70") and ("worse than tuned" in text) == is_worse
    assert exports.refusal([exported("q2_k", LOST)]) == (
        "q2_k is REGRESSED -12.0 (lost arith -30.0, arc -4.0) against what was trained."
    )
