"""Every crash state of a history that somebody saved, judged by what lies on the disk: no program runs.

Asked is what needs no recovery: whether a promised message is still there or was delivered (LOST), whether a mark
names less than the whole (MARK), and what became of baddir (BADDIR). What the history does not tell is counted as not
judged, and said: `untold`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from smap_simulator.check import LOST, Judge, violations
from smap_simulator.contents import Bounds
from smap_simulator.crash import Crashes
from smap_simulator.experiment import Lab, Result, finding_of
from smap_simulator.fault import Fault
from smap_simulator.history import History, MailerEnd, Unlink
from smap_simulator.past import Past

NOBODY_RECOVERS = "nobody recovers: what smapd makes of what a crash left is not asked (PARTIAL, DUPLICATE, STUCK)"
NO_PROMISE = "no reply promises a message, and the spool holds none at the start: nothing can be lost"
NO_MAILER = (
    "no mailer ends in the history: a message is not judged once a process that did not make its file unlinks it"
)


@dataclass(frozen=True, slots=True)
class Inquest:
    """A piece of work for a campaign: one history under one model."""

    history: History
    model: str
    bounds: Bounds = field(default_factory=Bounds)
    chapter: str = "crashes"
    fault: Fault | None = None  # none is injected

    def carry_out(self, _lab: Lab | None = None) -> Result:
        """Do it. The addresses of the findings are ids."""
        result = Result()
        crashes, judge = Crashes(self.history, self.model), Judge(self.history)
        removed = _removed_by_others(self.history)
        seen: set[object] = set()
        for cut in crashes.cuts():
            result.counts["cuts"] += 1
            for state in crashes.states(cut, self.bounds):
                result.counts["states"] += 1
                if state.key in seen:
                    continue
                seen.add(state.key)
                for violation in violations(judge.case(state, None)):
                    if violation.word == LOST and removed.get(violation.message, cut) < cut:
                        result.counts["not judged"] += 1
                    else:
                        result.add(finding_of(violation, state.id, self.model))
        result.counts["distinct states"] += len(seen)
        result.cut_short(crashes.cut_short)
        return result


def untold(history: History) -> list[str]:
    """What no crash state of this history can be asked, in words: what nobody recorded, and what is not in it."""
    found = [*history.notes, NOBODY_RECOVERS]
    if not Past(history).promises:
        found.append(NO_PROMISE)
    if _removed_by_others(history):
        found.append(NO_MAILER)
    return found


def _removed_by_others(history: History) -> dict[str, int]:
    """message -> the event that took its file away, in a history that tells of no delivery."""
    if any(isinstance(event, MailerEnd) for event in history.events):
        return {}
    promised = {
        each.inode: (each.message, history.events[each.event].process if each.event >= 0 else 0)
        for each in Past(history).promises
    }
    found: dict[str, int] = {}
    for at, event in enumerate(history.events):
        if isinstance(event, Unlink) and event.inode in promised:
            message, maker = promised[event.inode]
            if event.process != maker:
                found.setdefault(message, at)
    return found
