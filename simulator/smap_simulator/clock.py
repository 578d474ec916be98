"""Time in a simulated world. It moves only when everybody waits, and then to the next moment that anybody waits for."""

from __future__ import annotations

EPOCH_S = 1_764_000_000.0  # what time(2) says when a world begins


class Clock:
    """`system.Clock`."""

    __slots__ = ("now_s",)

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s

    def monotonic(self) -> float:
        """Seconds since the world began."""
        return self.now_s

    def time(self) -> float:
        """Seconds since the epoch."""
        return EPOCH_S + self.now_s

    def move(self, to_s: float) -> None:
        """Nobody has anything to do before `to_s`."""
        assert to_s >= self.now_s, "time never goes back"
        self.now_s = to_s
