"""Any other PEFT type, named in a recipe with the built-in `peft`: it trains, and reloads."""

import re

import pytest
import torch
from method_bench import logits, train

from finetop.core.recipe.find import builtin_folder
from finetop.core.recipe.load import resolve_text
from finetop.core.train import methods

QUIET = "ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"
pytestmark = pytest.mark.filterwarnings(*QUIET)
HEADER = (builtin_folder() / "peft.yaml").read_text().partition("recipe: 1")[0]
NAMED = re.search(r"name the type \(([\w, ]+) …\)", HEADER)
assert NAMED
TYPES = [*NAMED[1].split(", "), "lokr", "boft", "c3a", "delora", "gralora", "hra", "randlora", "vblora"]
FITTING = {"c3a": "{block_size: 32}", "boft": "{boft_block_size: 4}"}  # for layers 64 wide
FITTING |= {
    "vblora": "{vector_length: 32, num_vectors: 32}",
    "randlora": "{r: 8}",
    "road": "{group_size: 16}",
}


@pytest.mark.parametrize("name", TYPES)
def test_a_type_over_the_built_in_recipe_trains_and_comes_back(name, bench, tmp_path):
    own = f", options: {FITTING[name]}" if name in FITTING else ""
    recipe = resolve_text(f"recipe: 1\nextends: peft\nmethod: {{type: {name}{own}}}\n", (), tmp_path).recipe
    options = recipe.method.options
    model = methods.load("peft").prepare(bench.load(), options, None)
    losses = train(model)
    assert losses[-1] < losses[0]
    tuned = logits(model)
    bench.save(model, tmp_path / "saved")
    assert torch.allclose(logits(bench.reload(tmp_path / "saved")), tuned, atol=2e-6)
