"""Secrets among the words of a command: refused where finetop starts it, masked where it only watches."""

import pytest

from finetop.core.errors import BadInput
from finetop.core.runtime import secrets

TOKEN = "hf_" + "a1B2c3D4e5F6" * 3


@pytest.mark.parametrize(
    ("words", "masked"),
    [
        (("x", "--hub_token", "abc"), ["x", "--hub_token", "…"]),
        (("x", "--hub-token=abc"), ["x", "--hub-token=…"]),
        (("env", "WANDB_API_KEY=abc", "x"), ["env", "WANDB_API_KEY=…", "x"]),
        (("x", "--api-key", "'abc'"), ["x", "--api-key", "…"]),
        (("x", "password=abc"), ["x", "password=…"]),
    ],
)
def test_a_named_secret_is_refused_and_masked(words, masked):
    with pytest.raises(BadInput, match=r"command\.run: .* is a secret") as caught:
        secrets.require_no_option(words, "command.run")
    assert "abc" not in f"{caught.value.message} {caught.value.hint}"
    assert secrets.masked(words) == masked
    secrets.require_no_option(masked, "command.run")


def test_a_token_by_its_shape_is_masked_wherever_it_stands():
    assert secrets.masked(("x", TOKEN, f"--a={TOKEN}")) == ["x", "…", "…"]


@pytest.mark.parametrize(
    "words",
    [
        ("x", "--use_auth_token", "true"),
        ("x", "--use_auth_token", "--lr", "1"),
        ("x", "--eos-token", "abc"),
        ("x", "--pad_token=abc"),
        ("x", "--special_token", "<sep>"),
        ("sh", "-c", "--hub_token", "$HF_TOKEN"),
        ("x", "--hub_token", "{token}"),
        ("x", "--max_token=512"),
        ("x", "--hub_token"),
        ("token", "abc"),
        (),
    ],
)
def test_what_is_no_secret_is_left_as_it_is(words):
    secrets.require_no_option(words, "command.run")
    assert secrets.masked(words) == list(words)
