"""A broken guarantee, told so that a person can mend it: the operations, what was not durable, and what would help.

The hint is found by trying: an fsync is put into the history before the event that came too early, and the model is
asked whether the state is still possible.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from smap_simulator.check import Violation
from smap_simulator.crash import Crashes, CrashState
from smap_simulator.effect import Effect
from smap_simulator.history import Event, Fsync, History
from smap_simulator.models import MODELS
from smap_simulator.omission import NO, PART, Line, explain
from smap_simulator.pending import Tracker
from smap_simulator.wording import Wording

_STYLES = {NO: "bold red", PART: "bold red", "SAID": "bold", "barrier": "cyan", "yes": "green"}


@dataclass(frozen=True)
class Counterexample:
    """One violation, or several of one state. `lines` are the events that have to do with it."""

    state: CrashState
    violations: tuple[Violation, ...]
    lines: tuple[Line, ...]
    words: tuple[str, ...]  # of every event of the history
    left: tuple[str, ...]  # what the crash left: one line for each name
    hint: str
    recovery: tuple[str, ...] = ()
    replay: str = ""

    @classmethod
    def of(
        cls,
        history: History,
        id_: str,
        violations: tuple[Violation, ...],
        *,
        recovery: History | None = None,
        replay: str = "",
    ) -> Counterexample:
        """The counterexample of one id, for people and machines. `replay` is the command that shows it again."""
        crashes = Crashes(history, id_.partition(":")[0])
        state = crashes.state(id_)
        lines = tuple(_relevant(history, explain(crashes, state), state, violations))
        left = tuple(line for line in state.image.describe() if not line.startswith("/ "))
        words = tuple(Wording(history).events)
        after: list[str] = []
        if recovery is not None:
            told = zip(recovery.events, Wording(recovery).events, strict=True)
            after = [text for event, text in told if _is_telling(event)]
        return cls(state, violations, lines, words, left, hint(history, state, violations), tuple(after), replay)

    def title(self) -> str:
        """The first line: word, rule, what is broken."""
        first = self.violations[0]
        return f"{first.word}  {first.rule}  {first.sentence}"

    def plain(self) -> str:
        """Text without colours."""
        width = max([len(line.event.program) for line in self.lines] or [0])
        only = "  <- the only omission" if sum(line.durable in (NO, PART) for line in self.lines) == 1 else ""
        rows = [
            f"{line.number:5}  {line.event.program:{width}}  {self.words[line.number]:60.60}  {line.durable}"
            f"{only if line.durable in (NO, PART) else ''}".rstrip()
            for line in self.lines
        ]
        return "\n".join([*self._head(), *rows, *self._tail()]) + "\n"

    def __rich__(self) -> Group:
        """The same as a table, for rich's console."""
        table = Table(box=None, pad_edge=False)
        for heading in ("#", "process", "operation", "durable?"):
            table.add_column(heading, justify="right" if heading == "#" else "left")
        for line in self.lines:
            word = Text(line.durable, _STYLES.get(line.durable, ""))
            table.add_row(str(line.number), line.event.program, Text(self.words[line.number]), word)
        return Group(Text("\n".join(self._head()), "bold"), table, Text("\n".join(self._tail())))

    def _head(self) -> list[str]:
        model = MODELS[self.state.model]
        rows = [self.title(), f"model {model.name}: {model.stands_for}", f"id    {self.state.id}"]
        rows += [f"      {' '.join(filter(None, (each.message, each.detail)))}" for each in self.violations]
        return rows + ([f"replay: {self.replay}"] if self.replay else [])

    def _tail(self) -> list[str]:
        crash = "power cut" if MODELS[self.state.model].volatile.answer else "SIGKILL"
        rows = [f"== {crash} ==", *(f"       {line}" for line in self.left)]
        rows += [f"recovery: {line}" for line in self.recovery]
        return rows + ([f"hint: {self.hint}"] if self.hint else [])

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "id": self.state.id,
            "model": self.state.model,
            "cut": self.state.cut,
            "digest": self.state.digest,
            "violations": [{**asdict(each), "sentence": each.sentence} for each in self.violations],
            "operations": [
                {"number": line.number, "process": line.event.process, "program": line.event.program,
                 "operation": self.words[line.number], "durable": line.durable}
                for line in self.lines
            ],
            "left": list(self.left),
            "recovery": list(self.recovery),
            "hint": self.hint,
            "replay": self.replay,
        }  # fmt: skip

    def json(self) -> str:
        """JSON text, the same each time."""
        return json.dumps(self.as_json(), indent=2, sort_keys=True) + "\n"


def _is_telling(event: Event) -> bool:
    return type(event).__name__ in ("MailerStart", "MailerEnd", "Rename", "Unlink")


def _relevant(
    history: History, lines: list[Line], state: CrashState, violations: tuple[Violation, ...]
) -> Iterator[Line]:
    """What happened to the files at hand, each barrier, and what was said."""
    inodes = {effect.inode for effect in state.omitted}
    events = {each.event for each in violations if each.event >= 0}
    for at in events:
        inodes.add(getattr(history.events[at], "inode", 0))
    for line in lines:
        about = getattr(line.event, "inode", 0) in inodes - {0}
        if line.number in events or line.durable in (NO, PART, "SAID", "barrier") or (about and line.durable):
            yield line


# The hint


def hint(history: History, state: CrashState, violations: tuple[Violation, ...]) -> str:
    """What would make the state impossible; "" where nothing was found."""
    words = Wording(history)
    for each in violations:
        early = each.event
        if early < 0 or not state.omitted:
            continue
        before = [effect for effect in state.omitted if effect.event < early]
        if not before:
            late = min(effect.event for effect in state.omitted)
            return f"operation {late} has to be durable before operation {early}, and comes after it"
        for effect in before:
            for inode in _syncable(effect):
                if not helps(history, state, Fsync(0, "", inode), early):
                    continue
                told = f"operation {effect.event} needs an fsync of {words.file(inode)} before operation {early}"
                weak = not effect.directory and not helps(history, state, Fsync(0, "", inode, data_only=True), early)
                return told + (f"; fdatasync is not enough on {state.model}" if weak else "")
    return ""


def helps(history: History, state: CrashState, barrier: Fsync, before: int) -> bool:
    """Whether a barrier right before an event makes it impossible that all of the omissions are open at that event."""
    longer = replace(history, events=(*history.events[:before], barrier, *history.events[before:]))
    tracker = Tracker(longer, MODELS[state.model])
    while tracker.at <= before:
        tracker.step()
    open_ = {(effect.event, effect.place, effect.block) for effect in tracker.pending().effects}
    omitted = {(effect.event, effect.place, effect.block) for effect in state.omitted if effect.event < before}
    return not omitted <= open_


def _syncable(effect: Effect) -> tuple[int, ...]:
    """Whose fsync could cover an effect, the usual one first."""
    return (effect.directory, effect.inode) if effect.directory else (effect.inode,)
