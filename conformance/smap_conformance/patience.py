"""How long a run waits for events, and when it has waited enough.

Every bound is generous, since the machine may be busy. A target that has used up whole bounds time and again is not
busy, it is broken: then the bounds shrink, so that judging the rest of it does not take hours.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from smap_conformance.expect import Overdue

WAIT_S = 20.0  # the bound of every wait for an event, before scaling
SHORT_WAIT_S = 4.0  # the same for a target that let too many bounds pass
OVERDUE_MAX = 4
POLL_S = 0.005
Found = TypeVar("Found")


@dataclass(slots=True)
class Patience:
    """One for each lab. `scale` multiplies every bound; `overdue` counts the bounds that a target let pass."""

    scale: float = 1.0
    overdue: int = 0

    @property
    def worn(self) -> bool:
        """Whether the short bounds are in force."""
        return self.overdue > OVERDUE_MAX

    def bound_s(self, within_s: float = WAIT_S) -> float:
        """A bound as it is in force now."""
        return self.scale * (min(within_s, SHORT_WAIT_S) if self.worn else within_s)


def until(what: str, acceptable: str, ready: Callable[[], Found], bound_s: float) -> Found:
    """Wait until `ready()` is true and return its value. Overdue when the bound has passed."""
    end = time.monotonic() + bound_s
    while not (found := ready()):
        if time.monotonic() > end:
            raise Overdue(what, acceptable, f"not within {bound_s:g} s")
        time.sleep(POLL_S)
    return found
