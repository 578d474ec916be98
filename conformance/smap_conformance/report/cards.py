"""A card for each case that is not as it should be: everything that one needs to see what went wrong, laid out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup
from smap_simulator import history

from smap_conformance import results
from smap_conformance.failure import Failure
from smap_conformance.report import drawing, lanes, telling
from smap_conformance.report.judged import Judged
from smap_conformance.verdict import CaseResult, Verdict

FULL_CARDS_MAX = 150  # for each implementation; further ones are told in short
SECTION_LINES_MAX, LINE_MAX, VALUE_MAX, BRIEF_MAX = 60, 240, 1_500, 50
HISTORY, COUNTEREXAMPLE, DIALOGUE = "history.jsonl", "counterexample.json", "dialogue"
FOLDED = ("netperm-table", DIALOGUE, "counterexamples")
KILLED = "process-crash"  # the model of a crash that the machine survives
HEADINGS = {
    "spool": "spool directory afterwards",
    "baddir": "baddir afterwards",
    "mailer": "runs of the mailer",
    "log": "log",
    "netperm-table": "netperm-table",
    "smapd-stderr": "what smapd wrote",
    "smap-exits": "how smap ended",
    "counterexamples": "every crash state that broke a rule, as text",
    DIALOGUE: "the dialogue, as bytes",
}
ORDER = ("spool", "baddir", "mailer", "log", "smapd-stderr", "smap-exits", "netperm-table", DIALOGUE)


@dataclass(frozen=True, slots=True)
class Section:
    """One artefact: text, or the rows of a directory. `folded`: it is there for those who ask."""

    name: str
    heading: str
    text: str = ""
    files: tuple[Mapping[str, str], ...] = ()
    folded: bool = False

    @property
    def brief(self) -> bool:
        """Whether it fits beside its heading."""
        return bool(self.text) and not self.folded and "\n" not in self.text and len(self.text) <= BRIEF_MAX


@dataclass(frozen=True, slots=True)
class Drawn:
    """A time line: the lanes as a picture, and the rows as text."""

    picture: Markup
    strip: lanes.Strip
    heading: str


@dataclass(frozen=True, slots=True)
class Card:
    """One case of one implementation. `rules` are those that it found not kept, the one it stands under first."""

    implementation: str
    case: str
    title: str
    parameters: str
    verdicts: Mapping[str, Verdict]  # of each of its rules
    rules: tuple[str, ...]
    line: str
    failure: Failure
    traceback: str  # where the harness failed, which is all that is known
    folder: str
    id: str = ""
    full: bool = False
    drawn: Drawn | None = None
    sections: tuple[Section, ...] = ()
    nothing: tuple[str, ...] = ()  # what there was nothing of
    crash: Mapping[str, Any] | None = None  # the counterexample
    trouble: str = ""  # why there is no drawing where there should be one


def cards(judged: Judged, number: int, bad: frozenset[Verdict]) -> list[Card]:
    """The cards of one implementation, by rule and case. `number` tells implementations apart in ids."""
    cases = sorted((one for one in judged.run.cases if _blamed(one, bad)), key=lambda one: one.case)
    seen: dict[str, int] = {}
    ranked: list[tuple[int, CaseResult]] = []
    for one in cases:
        first = _blamed(one, bad)[0]
        seen[first] = seen.get(first, 0) + 1
        ranked.append((seen[first], one))
    places = sorted(range(len(ranked)), key=lambda at: (ranked[at][0], at))
    full = {ranked[at][1].case for at in places[:FULL_CARDS_MAX]}
    folders = judged.folders()
    made = []
    for at, one in enumerate(cases):
        card = _card(judged.name, one, _blamed(one, bad), folders.get(one.case, judged.directory.name))
        card = replace(card, id=f"case-{number}-{at}-{results.folder_name(one.case)}", full=one.case in full)
        made.append(_filled(card, one.artefacts) if card.full else card)
    return made


def _blamed(case: CaseResult, bad: frozenset[Verdict]) -> tuple[str, ...]:
    found = [rule for rule, verdict in case.verdicts.items() if verdict in bad]
    return tuple(sorted(found, key=lambda rule: (-case.verdicts[rule].weight, rule)))


def _card(implementation: str, case: CaseResult, rules: tuple[str, ...], folder: str) -> Card:
    """A card in short."""
    title, parameters = telling.words_of(case.case)
    found = case.failure or Failure(rules, "", "", "")
    found = replace(
        found,
        looked_at=shortened(found.looked_at),
        acceptable=shortened(found.acceptable),
        actual=shortened(found.actual),
        fault=shortened(found.fault),
    )
    return Card(
        implementation=implementation,
        case=case.case,
        title=title,
        parameters=parameters,
        verdicts=case.verdicts,
        rules=rules,
        line=_cut(case.line, LINE_MAX),
        failure=found,
        traceback="" if case.failure else shortened(case.detail),
        folder=folder,
    )


def _filled(card: Card, artefacts: Mapping[str, str]) -> Card:
    """The card with its time line and its sections."""
    crash = _json(artefacts.get(COUNTEREXAMPLE, ""))
    drawn, trouble = draw(artefacts, crash)
    told = [name for name in (*ORDER, *sorted(artefacts)) if name in artefacts]
    hidden = {HISTORY, COUNTEREXAMPLE}
    names = [name for name in dict.fromkeys(told) if name not in hidden]
    sections = tuple(section(name, artefacts[name]) for name in names if not telling.is_nothing(artefacts[name]))
    nothing = tuple(HEADINGS.get(name, name) for name in names if telling.is_nothing(artefacts[name]))
    return replace(card, drawn=drawn, sections=sections, nothing=nothing, crash=crash, trouble=trouble)


def draw(artefacts: Mapping[str, str], crash: Mapping[str, Any] | None) -> tuple[Drawn | None, str]:
    """The time line of what was recorded, or else of the dialogue; and why the first could not be drawn."""
    trouble = ""
    if text := artefacts.get(HISTORY, ""):
        try:
            recorded = history.parse(text, HISTORY)
            strip = lanes.of_history(recorded, _crash(crash))
            if strip.rows:
                return Drawn(drawing.svg(strip), strip, "time line"), ""
        except (history.HistoryError, KeyError, IndexError) as error:
            trouble = f"the recording cannot be drawn: {error}"
    dialogue = artefacts.get(DIALOGUE, "")
    if telling.is_nothing(dialogue):
        return None, trouble
    strip = lanes.of_dialogue(dialogue)
    return Drawn(drawing.svg(strip), strip, "what was said"), trouble


def _crash(crash: Mapping[str, Any] | None) -> lanes.Crash | None:
    if crash is None:
        return None
    durable = {int(one["number"]): str(one["durable"]) for one in crash["operations"]}
    killed = crash.get("model") == KILLED
    return lanes.Crash(
        int(crash["cut"]), durable, tuple(map(str, crash.get("left") or ())), "killed" if killed else "power cut"
    )


def _json(text: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text) if text else None
    except ValueError:
        return None
    return found if isinstance(found, dict) and {"cut", "operations"} <= set(found) else None


def section(name: str, text: str) -> Section:
    """One artefact, short enough for a page."""
    heading = HEADINGS.get(name, name)
    rows = telling.files(text) if name in ("spool", "baddir") else None
    if rows is not None and len(rows) <= SECTION_LINES_MAX:
        return Section(name, heading, files=tuple(rows))
    lines = [_cut(line, LINE_MAX) for line in text.splitlines()]
    if len(lines) > SECTION_LINES_MAX:
        lines = [*lines[:SECTION_LINES_MAX], f"… {len(lines) - SECTION_LINES_MAX} more lines"]
    return Section(name, heading, "\n".join(lines), folded=name in FOLDED)


def shortened(text: str) -> str:
    """A value short enough for a page."""
    return _cut(text, VALUE_MAX)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"
