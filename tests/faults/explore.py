"""Explores all states of a model of the protocol, breadth first, and traces how it reached a wrong one."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from protocol_model import Rules, State, is_over, steps, wrongs


@dataclass
class Explored:
    """All states within a number of steps, each with the one that it was first reached from."""

    states: list[State] = field(default_factory=list)
    steps: int = 0
    depth: int = 0  # of the last state that was new
    is_whole: bool = False  # nothing is further away
    wrong: str = ""
    trace: list[str] = field(default_factory=list)  # to the wrong state
    over: set[int] = field(default_factory=set)  # the states in which the run is over

    @property
    def words(self) -> str:
        whole = "all there are" if self.is_whole else "and there are more"
        summary = f"{len(self.states)} states, {self.steps} steps, {self.depth} deep, {whole}"
        return "\n".join([summary, *([self.wrong, *self.trace] if self.wrong else ())])


def explore(rules: Rules, start: State | None = None, *, depth: int = 1000, only: str = "") -> Explored:
    """Visit every state up to a number of steps from the start; stop at the first wrong one (`only`: wrong in this
    way).

        From each state there must be a way without faults to the run's end; from those at the edge that way is walked.
    """
    seen = Explored()
    numbers: dict[State, int] = {}
    parts: dict[object, object] = {}  # equal parts of states are one object: it takes a third of the memory
    parents, names = array("l"), list[str]()
    free_from, free_to = array("l"), array("l")

    def visit(state: State, parent: int, name: str) -> int:
        number = numbers.get(state)
        if number is not None:
            return number
        state = State(*(parts.setdefault(part, part) for part in state))
        number = numbers[state] = len(seen.states)
        seen.states.append(state)
        parents.append(parent)
        names.append(name)
        if is_over(state):
            seen.over.add(number)
        seen.wrong = seen.wrong or next((wrong for wrong in wrongs(state) if only in wrong), "")
        return number

    def trace_to(number: int) -> list[str]:
        trace = []
        while parents[number] >= 0:
            trace.append(names[number])
            number = parents[number]
        return trace[::-1]

    visit(start or State(), -1, "")
    done = 0
    while seen.depth < depth and done < len(seen.states) and not seen.wrong:
        seen.depth += 1
        for number in range(done, len(seen.states)):
            for step in steps(seen.states[number], rules):
                after = visit(step.state, number, step.name)
                seen.steps += 1
                if step.is_free:
                    free_from.append(number)
                    free_to.append(after)
                if seen.wrong:
                    seen.trace = trace_to(after)
                    return seen
            done = number + 1
    seen.is_whole = done == len(seen.states)
    good = ways_back(free_from, free_to, seen.over | walked(seen.states[done:], done, rules))
    stuck = next((number for number in range(len(seen.states)) if number not in good), None)
    if stuck is not None:
        seen.wrong, seen.trace = f"no way leads on from {seen.states[stuck]}", trace_to(stuck)
    return seen


def ways_back(sources: array[int], targets: array[int], ends: set[int]) -> set[int]:
    """Return all states from which some sequence of steps leads to one of the ends."""
    before: dict[int, list[int]] = {}
    for source, target in zip(sources, targets, strict=True):
        before.setdefault(target, []).append(source)
    good, left = set(ends), list(ends)
    while left:
        for source in before.get(left.pop(), ()):
            if source not in good:
                good.add(source)
                left.append(source)
    return good


def walked(edge: list[State], first: int, rules: Rules) -> set[int]:
    """Return the states at the edge from which a walk without faults reaches an end."""
    known: set[State] = set()
    return {first + place for place, state in enumerate(edge) if walk(state, rules, known)}


def walk(start: State, rules: Rules, known: set[State]) -> bool:
    """Go on without faults, deepest first, until the run is over; `known` are states from which it ends."""
    ways: list[tuple[State, Iterator[State]]] = [(start, free(start, rules))]
    tried = {start}
    while ways:
        state, nexts = ways[-1]
        if is_over(state) or state in known:
            known.update(way for way, _ in ways)
            return True
        following = next((one for one in nexts if one not in tried), None)
        if following is None:
            ways.pop()
        else:
            tried.add(following)
            ways.append((following, free(following, rules)))
    return False


def free(state: State, rules: Rules) -> Iterator[State]:
    return (step.state for step in steps(state, rules) if step.is_free)
