"""The most recent values and their median, which a few outliers do not move."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque


class Window:
    """The last `size` values, with a sorted copy: adding one costs a search and a shift, the median nothing."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: deque[float] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._values)

    @property
    def is_full(self) -> bool:
        return len(self._values) == self._size

    def add(self, value: float) -> float | None:
        """Add a value; return the one that it pushes out if the window was full."""
        gone = None
        if self.is_full:
            gone = self._values.popleft()
            del self._sorted[bisect_left(self._sorted, gone)]
        self._values.append(value)
        insort(self._sorted, value)
        return gone

    def clear(self) -> None:
        self._values.clear()
        self._sorted.clear()

    def median(self) -> float:
        return middle(self._sorted)


def middle(ascending: list[float]) -> float:
    """Return the median of sorted values."""
    half = len(ascending) // 2
    return ascending[half] if len(ascending) % 2 else (ascending[half - 1] + ascending[half]) / 2
