"""What the report shows, as values: headline, matrix, groups of cards, coverage. Everything here is data for a page."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smap_conformance import catalogue, results
from smap_conformance.catalogue import Level, Rule
from smap_conformance.known import Known, Standing
from smap_conformance.report.cards import Card, cards
from smap_conformance.report.judged import Judged
from smap_conformance.verdict import RuleResult, Verdict, counted

KILL_MATRIX, KILL_MATRIX_SCHEMA = Path(__file__).parent.parent / "kill_matrix.json", 1
LETTERS = {
    "PASS": "P", "INFO": "I", "NOT_MEASURED": "N", "SHOULD_MISSED": "S", "KNOWN": "K", "UNEXPECTED_PASS": "U",
    "FAIL": "F", "HARNESS_ERROR": "E",
}  # fmt: skip
MEANINGS = {
    "PASS": "kept", "INFO": "a value recorded, not judged", "NOT_MEASURED": "no case could tell, and why not is said",
    "SHOULD_MISSED": "a SHOULD that is not kept: still conformant", "KNOWN": "not kept, declared as known",
    "UNEXPECTED_PASS": "declared as known, and kept", "FAIL": "a MUST that is not kept",
    "HARNESS_ERROR": "the suite itself went wrong",
}  # fmt: skip
LINE_MAX = 300
NONE_LETTER, NONE = "·", "not judged"
GOOD = ("PASS", "INFO", "NOT_MEASURED")  # every other verdict gets cards
NOT_OURS = "no rule of this catalogue"


@dataclass(frozen=True, slots=True)
class Mark:
    """A verdict as it is shown: a letter, a word, and a class for its colour."""

    letter: str
    word: str
    look: str

    @property
    def meaning(self) -> str:
        """What the letter stands for, in a few words."""
        return MEANINGS.get(self.look.upper(), "no case of this run judged it")


NOT_JUDGED = Mark(NONE_LETTER, NONE, "none")


def mark(verdict: Verdict) -> Mark:
    """How a verdict is shown."""
    return Mark(LETTERS[verdict.name], verdict.value, verdict.name.lower())


@dataclass(frozen=True, slots=True)
class Cell:
    """What one implementation does about one rule."""

    implementation: str
    mark: Mark
    cases: int = 0
    line: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A rule and a cell for each implementation."""

    rule: Rule
    cells: tuple[Cell, ...]

    @property
    def looks(self) -> str:
        """The verdicts, for the filter."""
        return " ".join(sorted({cell.mark.look for cell in self.cells}))


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter of the catalogue."""

    name: str
    title: str
    rows: tuple[Row, ...]

    @property
    def untested(self) -> int:
        """How many of its rules have no case."""
        return sum(bool(row.rule.untested) for row in self.rows)

    def judged(self, number: int) -> int:
        """How many of its rules one implementation was judged by."""
        return sum(row.cells[number].cases > 0 for row in self.rows)


@dataclass(frozen=True, slots=True)
class Group:
    """A rule that is not kept, with its cards; `others` stand in full under another rule."""

    rule: Rule
    cards: tuple[Card, ...]
    others: tuple[Card, ...]

    def of(self, card: Card) -> Mark:
        """What a card says about this rule; about another it may say another thing."""
        return mark(card.verdicts[self.rule.id])

    @property
    def mark(self) -> Mark:
        """The heaviest verdict."""
        verdicts = (card.verdicts[self.rule.id] for card in (*self.cards, *self.others))
        return mark(max(verdicts, key=lambda verdict: verdict.weight))


@dataclass(frozen=True, slots=True)
class Implementation:
    """One implementation's headline and what is said about its run as a whole."""

    name: str
    conclusion: str
    status: int
    counts: tuple[tuple[Mark, int], ...]
    rules: int
    cases: int
    tally: Mapping[str, int]
    not_measured: Mapping[str, Sequence[str]]
    troubles: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    known: tuple[tuple[Known, Standing], ...]

    @property
    def look(self) -> str:
        """A class for the headline's colour."""
        if self.status == 0:
            return "well" if "as far as" not in self.conclusion else "partly"
        return "harness_error" if self.status == 3 else "fail"

    @property
    def unmeasured_cases(self) -> int:
        """How many cases could not be measured."""
        return sum(map(len, self.not_measured.values()))


@dataclass(frozen=True, slots=True)
class Page:
    """Everything."""

    title: str
    implementations: tuple[Implementation, ...]
    chapters: tuple[Chapter, ...]
    groups: tuple[Group, ...]
    marks: tuple[Mark, ...]  # those that occur, the heaviest first
    untested: tuple[Rule, ...]
    kill_matrix: tuple[Mapping[str, Any], ...]

    @property
    def broken(self) -> frozenset[str]:
        """The rules that have cards."""
        return frozenset(group.rule.id for group in self.groups)

    @property
    def rules(self) -> frozenset[str]:
        """The rules that have a row."""
        return frozenset(row.rule.id for chapter in self.chapters for row in chapter.rows)

    @property
    def surviving(self) -> int:
        """How many mutants some rule should have killed and did not."""
        return sum(bool(mutant["lives"] or not mutant["kills"]) for mutant in self.kill_matrix)

    @property
    def card_count(self) -> int:
        """How many cards there are."""
        return sum(len(group.cards) for group in self.groups)


def of(judged: Sequence[Judged], kill_matrix: Path = KILL_MATRIX) -> Page:
    """The view of one or several implementations."""
    bad = frozenset(verdict for verdict in Verdict if verdict.name not in GOOD)
    every = [card for number, one in enumerate(judged, 1) for card in cards(one, number, bad)]
    rules = _rules(judged)
    chapters = _chapters(judged, rules)
    marks = {cell.mark for chapter in chapters for row in chapter.rows for cell in row.cells}
    order = [*(mark(verdict) for verdict in reversed(Verdict)), NOT_JUDGED]
    return Page(
        title=f"{', '.join(one.name for one in judged)} against the rules of smap",
        implementations=tuple(_implementation(one, rules) for one in judged),
        chapters=chapters,
        groups=tuple(_groups(rules, every)),
        marks=tuple(each for each in order if each in marks),
        untested=tuple(rule for rule in rules.values() if rule.untested),
        kill_matrix=_kill_matrix(kill_matrix),
    )


def _rules(judged: Sequence[Judged]) -> dict[str, Rule]:
    """The catalogue, and what the results hold that is not in it: they may be those of another version."""
    rules = dict(catalogue.rules())
    for name in sorted({name for one in judged for case in one.run.cases for name in case.verdicts}):
        rules.setdefault(name, Rule(name, Level.INFO, NOT_OURS, "", "", untested=NOT_OURS))
    return rules


def _chapters(judged: Sequence[Judged], rules: dict[str, Rule]) -> tuple[Chapter, ...]:
    found = [{result.rule.id: result for result in one.run.rules(rules)} for one in judged]
    titles = {**catalogue.chapters(), **{rule.chapter: "" for rule in rules.values() if rule.sentence == NOT_OURS}}
    chapters = []
    for name, title in titles.items():
        rows = [
            Row(rule, tuple(_cell(one.name, each.get(rule.id)) for one, each in zip(judged, found, strict=True)))
            for rule in rules.values()
            if rule.chapter == name
        ]
        chapters.append(Chapter(name, title or catalogue.chapters().get(name, ""), tuple(rows)))
    return tuple(chapters)


def _cell(name: str, result: RuleResult | None) -> Cell:
    if result is None:
        return Cell(name, NOT_JUDGED)
    line = "" if result.verdict is Verdict.PASS else shortened(result.line)
    return Cell(name, mark(result.verdict), result.cases, line)


def shortened(line: str) -> str:
    """A line short enough for a headline or a row."""
    return line if len(line) <= LINE_MAX else f"{line[:LINE_MAX]}…"


def _groups(rules: Mapping[str, Rule], every: Sequence[Card]) -> list[Group]:
    groups = []
    for name, rule in rules.items():
        own = tuple(card for card in every if card.rules[0] == name)
        others = tuple(card for card in every if name in card.rules[1:])
        if own or others:
            groups.append(Group(rule, own, others))
    return sorted(groups, key=lambda group: -LETTER_WEIGHTS[group.mark.letter])


LETTER_WEIGHTS = {LETTERS[verdict.name]: verdict.weight for verdict in Verdict}


def _implementation(one: Judged, rules: dict[str, Rule]) -> Implementation:
    run = one.run
    rolled, conclusion = run.rules(rules), run.conclusion(catalogue.rules())
    count = Counter(rule.verdict for rule in rolled)
    unjudged = run.unjudged(catalogue.rules())
    troubles = [f"harness error: {text}" for text in dict.fromkeys(run.harness_errors)]
    troubles += [f"no mail gets through: {text}" for text in dict.fromkeys(run.first_sanity)]
    if unjudged:
        troubles.append(f"{counted(len(unjudged))} asked for and without a case: {', '.join(x.id for x in unjudged)}")
    return Implementation(
        name=one.name,
        conclusion=conclusion.line,
        status=conclusion.status,
        counts=tuple((mark(verdict), count[verdict]) for verdict in reversed(Verdict) if count[verdict]),
        rules=len(rolled),
        cases=len(run.cases),
        tally=run.tally(),
        not_measured=run.not_measured(),
        troubles=tuple(map(shortened, troubles)),
        environment=tuple(_about(run)),
        known=tuple(run.standings()),
    )


def _about(run: results.Run) -> Iterable[tuple[str, str]]:
    """What the run was about, where it ran, and which of the legal choices the target was seen to make."""
    about = run.about
    yield from (("language", about.language),) if about.language else ()
    yield "rules asked for", f"{about.only or 'all'}, level {about.level}"
    yield from (("options", shlex.join(about.options)),) if about.options else ()
    yield from _flat({"declared": about.declared, "seen": run.choices()})
    yield from _flat(about.environment)
    yield from (("started", about.started),) if about.started else ()
    yield from (("took", f"{about.seconds:.1f} s"),) if about.seconds else ()


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Name and value of everything in it; what lies deeper has both names."""
    rows: list[tuple[str, str]] = []
    for name, each in value.items():
        if isinstance(each, Mapping):
            rows += _flat(each, f"{prefix}{name} ")
        else:
            rows.append((f"{prefix}{name}", ", ".join(map(str, each)) if isinstance(each, list) else str(each)))
    return rows


def _kill_matrix(path: Path) -> tuple[Mapping[str, Any], ...]:
    """The suite's own, as `mutants.matrix` writes it; empty where none was shipped."""
    if not path.exists():
        return ()
    plain = json.loads(path.read_text(encoding="utf-8"))
    if plain["schema"] != KILL_MATRIX_SCHEMA:
        raise ValueError(f"{path}: schema {plain['schema']!r} is not {KILL_MATRIX_SCHEMA}")
    return tuple(plain["mutants"])


assert set(LETTERS) >= {verdict.name for verdict in Verdict}, "a verdict without a letter"
