"""One order for all that the logs tell, when calls overlapped.

Strategy: of a call that lasted while others went on, the log knows when it began and when it was over, and not when
in between the kernel did it. What the programs' guarantees rest on is taken where it is worth least: a barrier, a
reply and the giving up of a lock happen where their call began, everything else where it ended. So nothing counts as
covered by an fsync that may not have been, and a promise is as early as it can have been. A fork and the execution of a
program come at their beginning too, for the child may be heard of before its parent.

Whether another order would have told another story, `overlaps` says: pairs of calls of different processes that lay
over each other and touched the same file or name. `moved` takes calls to their other end: that is the other order.

Several logs are merged by the wall clock, each in its own order.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from smap_simulator.recorder.strace import FORKS, Call, Ended, descriptor_of

EARLY = FORKS | {
    "fsync", "fdatasync", "sync", "syncfs", "close", "close_range", "shutdown", "sendto", "sendmsg", "sendmmsg",
    "execve", "execveat",
}  # fmt: skip

CallId = tuple[int, int]  # log, line where it began


@dataclass(frozen=True, slots=True)
class Step:
    """A call or an end, where it takes effect. `call_id` names it among all logs."""

    item: Call | Ended
    call_id: CallId


def is_early(call: Call) -> bool:
    """Whether it takes effect where it began."""
    if call.name in EARLY:
        return True
    if call.name == "flock":
        return "LOCK_UN" in call.arguments[1]
    if call.name == "fcntl" and len(call.arguments) > 2:
        return "F_UNLCK" in call.arguments[2]
    return call.name in ("write", "writev") and (descriptor_of(call.arguments[0])[1] or "").startswith("socket:")


def steps(
    logs: Sequence[Sequence[Call | Ended]],
    moved: Mapping[CallId, bool] | None = None,
) -> Iterator[Step]:
    """Everything, in the order that is chosen. `moved`: calls that take effect early (True) or late after all."""
    chosen = moved or {}

    def of(number: int, items: Sequence[Call | Ended]) -> list[tuple[float, int, int, Step]]:
        found = []
        for item in items:
            line, time_s = item.ended, item.ended_s
            call_id = (number, item.began if isinstance(item, Call) else item.ended)
            if isinstance(item, Call) and chosen.get(call_id, is_early(item)):
                line, time_s = item.began, item.began_s
            found.append((line, time_s, call_id, Step(item, call_id)))
        found.sort(key=lambda each: (each[0], isinstance(each[3].item, Ended)))
        placed, latest_s = [], 0.0
        for line, time_s, _, step in found:
            latest_s = max(latest_s, time_s)
            placed.append((latest_s, number, line, step))
        return placed

    merged = heapq.merge(*(of(number, items) for number, items in enumerate(logs)), key=lambda each: each[:3])
    return (step for _, _, _, step in merged)


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two calls whose order is not known: the one that is taken first, the other, and what both touch."""

    first: CallId
    second: CallId
    what: str

    def other_way(self) -> dict[CallId, bool]:
        """What to move for the other order."""
        return {self.first: False, self.second: True}


@dataclass(frozen=True, slots=True)
class Touch:
    """What one call did: which inodes and names its events are about."""

    call: Call
    call_id: CallId
    touched: frozenset[tuple[int, str]]
    changes: bool  # more than a look


def overlaps(touches: Sequence[Touch]) -> list[Overlap]:
    """See the module. `touches` in the order that was chosen."""
    found: list[Overlap] = []
    going_on: list[Touch] = []
    for touch in touches:
        going_on = [other for other in going_on if lies_over(other.call, touch.call, other.call_id, touch.call_id)]
        for other in going_on:
            shared = other.touched & touch.touched
            if other.call.pid != touch.call.pid and shared and (other.changes or touch.changes):
                names = f"{other.call.name} and {touch.call.name}"
                found.append(Overlap(other.call_id, touch.call_id, names))
        going_on.append(touch)
    return found


def lies_over(first: Call, second: Call, first_id: CallId, second_id: CallId) -> bool:
    """Whether the two calls were going on at the same time."""
    if first_id[0] == second_id[0]:
        return first.began < second.ended and second.began < first.ended
    return first.began_s <= second.ended_s and second.began_s <= first.ended_s
