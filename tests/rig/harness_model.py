"""The scorer as a model of the lm-evaluation-harness, which tests compare with the harness's own.

Checks do not use this class (they need looks, caches and two models in one), but call the same functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from finetop.core.check.scoring.batch_plan import Prompt
from finetop.core.check.scoring.generation import answer
from finetop.core.check.scoring.packing import TokenSequence
from finetop.core.check.scoring.prefix_cache import PrefixMemory, find, room_for
from finetop.core.check.scoring.scorer import (
    encode_pair,
    encode_prompt,
    encode_text,
    packs_exactly,
    plan_for,
    prefix_token,
    score,
)
from finetop.core.check.tasks.types import LONGEST_ANSWER
from finetop.core.errors import BadInput
from finetop.core.models.forward import longest_input

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase

    from finetop.core.check.scoring.batch_plan import BatchPlan
    from finetop.core.check.scoring.scorer import Scored


@register_model("finetop")
class PackedModel(TemplateLM):  # type: ignore[misc]
    """A loaded causal language model and its tokenizer, scored in packed rows (plain ones, if packing is not exact)."""

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        plan: BatchPlan | None = None,
        max_length: int | None = None,
        **_: Any,
    ) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.plan = plan or plan_for(str(model.device))
        if self.plan.layout == "packed" and not packs_exactly(model):
            self.plan = type(self.plan)("plain", self.plan.row_tokens)
        self.max_length = max_length or longest_input(model.config, tokenizer)

    @property
    def eot_token_id(self) -> int:
        """Return the token that ends a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """Return the token put before a text without a context."""
        return prefix_token(self.tokenizer)

    @property
    def tokenizer_name(self) -> str:
        """Return the tokenizer's name for the harness's request cache."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Tokenize a text, by default with the tokenizer's special tokens unless it already begins with one."""
        if add_special_tokens is None:
            return encode_text(self.tokenizer, string)
        ids: list[int] = self.tokenizer.encode(string, add_special_tokens=add_special_tokens)
        return ids

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Render a conversation with the tokenizer's template."""
        text = self.tokenizer.apply_chat_template(
            chat_history,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )
        return str(text)

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Score the continuation of each request's context."""
        pairs = [request.args for request in requests]
        sequences = [encode_pair(self.tokenizer, before, after, self.max_length) for before, after in pairs]
        items = [(request.task_name, request.doc_id) for request in requests]
        return [(result.log_prob, result.is_greedy) for result in self._score(sequences, items)]

    def _loglikelihood_tokens(self, requests: Sequence[Any], **_: Any) -> list[tuple[float, bool]]:
        sequences = [self._window(before, after) for _, before, after in requests]
        scored = self._score(sequences, [tuple(before) for _, before, _ in requests])
        return [(result.log_prob, result.is_greedy) for result in scored]

    def _score(self, sequences: Sequence[TokenSequence], items: Sequence[Any]) -> list[Scored]:
        """Score sequences; those with the same item (anything hashable) stay together."""
        together: dict[Any, list[TokenSequence]] = {}
        for item, sequence in zip(items, sequences, strict=True):
            together.setdefault(item, []).append(sequence)
        memory = PrefixMemory(find(together.values()), room_for(str(self.model.device)))
        return score(self.model, sequences, self.plan, memory)

    def _window(self, before: Sequence[int], after: Sequence[int]) -> TokenSequence:
        tokens = (*before, *after)[-(self.max_length + 1) :]
        return TokenSequence(tokens, max(1, len(tokens) - len(after)))

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Sum the log-probability of each whole text, in the harness's windows, each token scored once."""
        owners: list[int] = []
        windows: list[TokenSequence] = []
        for number, request in enumerate(requests):
            pairs = get_rolling_token_windows(
                self.tok_encode(request.args[0]), self.prefix_token_id, self.max_length, context_len=1
            )
            cut = [self._window(*make_disjoint_window(pair)) for pair in pairs]
            windows.extend(cut)
            owners.extend([number] * len(cut))
        totals = [0.0] * len(requests)
        for number, result in zip(owners, score(self.model, windows, self.plan), strict=True):
            totals[number] += result.log_prob
        return totals

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Write the greedy answer to each request. Raises BadInput for a task that wants sampled ones."""
        prompts = [self._prompt(*request.args) for request in requests]
        memory = PrefixMemory(find([prompt] for prompt in prompts), room_for(str(self.model.device)))
        return answer(self.model, self.tokenizer, prompts, self.plan, memory)

    def _prompt(self, text: str, settings: dict[str, Any]) -> Prompt:
        wanted = normalize_gen_kwargs(settings, LONGEST_ANSWER)
        if wanted.get("do_sample"):
            raise BadInput(
                f"generation_kwargs: sampling (temperature {wanted.get('temperature')}) can't be compared.",
                hint="Set do_sample to false.",
            )
        longest = int(wanted["max_gen_toks"])
        tokens = encode_prompt(self.tokenizer, text, self.max_length, longest)
        return Prompt(tokens, tuple(filter(None, wanted["until"])), longest)
