"""Our scorer as a model of the lm-evaluation-harness: `get_model("finetop")`, for its own evaluator and for comparison.

Checks do not come this way (they need looks, caches and two models in one), but call the same functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model

from finetop.core.check.generation import LONGEST_ANSWER, Prompt, answer
from finetop.core.check.packing import TokenSequence
from finetop.core.check.scorer import encode_pair, longest_input, plan_for, score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase


@register_model("finetop")
class PackedModel(TemplateLM):  # type: ignore[misc]
    """A loaded causal language model and its tokenizer, scored in packed rows."""

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase, **_: Any) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.plan = plan_for(str(model.device))
        self.longest = longest_input(model.config)

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def tokenizer_name(self) -> str:
        """Name the tokenizer for the harness's request cache."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Tokenize a text."""
        ids: list[int] = self.tokenizer.encode(string, add_special_tokens=bool(add_special_tokens))
        return ids

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Score the continuation of each request's context."""
        pairs = [request.args for request in requests]
        sequences = [encode_pair(self.tokenizer, before, after, self.longest) for before, after in pairs]
        return [(one.log_prob, one.is_greedy) for one in score(self.model, sequences, self.plan)]

    def _loglikelihood_tokens(self, requests: Sequence[Any], **_: Any) -> list[tuple[float, bool]]:
        sequences = [TokenSequence((*before, *after), len(before)) for _, before, after in requests]
        return [(one.log_prob, one.is_greedy) for one in score(self.model, sequences, self.plan)]

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Sum the log-probability of each whole text, in windows that overlap by one token."""
        totals = []
        for request in requests:
            ids = [self.eot_token_id, *self.tok_encode(request.args[0])]
            starts = range(0, len(ids) - 1, self.longest)
            windows = [TokenSequence(tuple(ids[at : at + self.longest + 1]), 1) for at in starts]
            totals.append(sum(one.log_prob for one in score(self.model, windows, self.plan)))
        return totals

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Write the greedy answer to each request."""
        prompts = []
        for request in requests:
            text, settings = request.args
            stop = settings.get("until") or ()
            longest = int(settings.get("max_gen_toks", LONGEST_ANSWER))
            tokens = encode_pair(self.tokenizer, text, "", self.longest).tokens
            prompts.append(Prompt(tokens, (stop,) if isinstance(stop, str) else tuple(stop), longest))
        return answer(self.model, self.tokenizer, prompts, self.plan)
