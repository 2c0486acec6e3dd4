"""Puts a sample of the harness into words: the question, the right answer, and the model's answer."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

QUESTION_KEPT = 500  # characters
ANSWER_KEPT = 500


def question_of(row: Mapping[str, Any]) -> str:
    """Return the prompt's last 500 characters (few-shot examples come first), or the document's longest text."""
    prompts = [prompt for prompt, _ in _arguments(row)]
    prompt = next((text for text in map(_text, prompts) if text.strip()), "")
    if not prompt:
        document = row.get("doc")
        texts = document.values() if isinstance(document, dict) else [document]
        prompt = max((text for text in texts if isinstance(text, str)), key=len, default="")
    prompt = prompt.strip()
    return prompt if len(prompt) <= QUESTION_KEPT else "…" + prompt[1 - QUESTION_KEPT :]


def gold_of(row: Mapping[str, Any]) -> str:
    """Return the right answer: the choice that the target numbers, or the target itself."""
    target = row.get("target")
    choices = choices_of(row)
    place = int(target) if isinstance(target, str) and target.strip().isdecimal() else target
    if isinstance(place, int) and not isinstance(place, bool) and 0 <= place < len(choices):
        return choices[place][:ANSWER_KEPT]
    return _text(target).strip()[:ANSWER_KEPT]


def answer_of(row: Mapping[str, Any], metric: str) -> str:
    """Return the model's answer: what it wrote, after the filter, or the choice that scored best by the metric."""
    responses = row.get("filtered_resps")
    responses = responses if isinstance(responses, list) else []
    choices = choices_of(row)
    if choices:
        scores = [_log_probability(response) for response in responses[: len(choices)]]
        lengths = [_length(choice, metric) for choice in choices]
        weighed = [score / length for score, length in zip(scores, lengths, strict=False)]
        if weighed and all(map(isfinite, weighed)):
            return choices[weighed.index(max(weighed))][:ANSWER_KEPT]
        return ""
    first = responses[0] if responses else ""
    if isinstance(first, list) and len(first) == 2 and str(first[1]) in ("True", "False"):
        greedy = "the likeliest" if str(first[1]) == "True" else "not the likeliest"
        return f"right text: {_log_probability(first):.2f} nats, {greedy}"
    return _text(first).strip()[:ANSWER_KEPT]


def choices_of(row: Mapping[str, Any]) -> list[str]:
    """Return the choices of a multiple-choice row: the continuations, or the prompts if all end alike."""
    pairs = _arguments(row)
    if len(pairs) < 2 or not all(isinstance(answer, str) for _, answer in pairs):
        return []
    if "acc_mutual_info" in row:
        pairs = pairs[: len(pairs) // 2]
    answers = [answer.strip() for _, answer in pairs]
    if len(set(answers)) == 1:
        answers = [_text(prompt).strip() for prompt, _ in pairs]
    return answers


def _arguments(row: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Return (prompt, continuation or settings) of each request, whichever version wrote them."""
    requests = row.get("arguments")
    if isinstance(requests, dict):
        named = [request for request in requests.values() if isinstance(request, dict)]
        return [(request.get("arg_0"), request.get("arg_1")) for request in named]
    listed = requests if isinstance(requests, list) else []
    pairs = [(*request, None)[:2] for request in listed if isinstance(request, list) and request]
    return [(prompt, rest) for prompt, rest in pairs]


def _log_probability(response: Any) -> float:
    value = response[0] if isinstance(response, list) and response else response
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("-inf")


def _length(choice: str, metric: str) -> int:
    if metric == "acc_norm":
        return max(len(choice), 1)
    return max(len(choice.encode()), 1) if metric == "acc_bytes" else 1


def _text(value: Any) -> str:
    """Return a value as text; for a list, its first entry (a chat prompt is a list of one text)."""
    if isinstance(value, list) and value:
        return _text(value[0])
    return value if isinstance(value, str) else "" if value is None else str(value)
