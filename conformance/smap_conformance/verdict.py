"""Verdicts: what a case says about its rules, and what the cases together say about a rule and a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from smap_conformance.catalogue import Level, Rule


class Verdict(Enum):
    """In order of weight: a rule's verdict is the heaviest of its cases'."""

    PASS = "pass"  # noqa: S105 - a verdict
    INFO = "info"
    NOT_MEASURED = "not measured"
    SHOULD_MISSED = "should-missed"
    FAIL = "FAIL"
    HARNESS_ERROR = "harness error"

    @property
    def weight(self) -> int:
        """The place in the order of weight, from 0."""
        return list(Verdict).index(self)

    @property
    def letter(self) -> str:
        """One character for a progress line."""
        return {"PASS": ".", "INFO": "i", "NOT_MEASURED": "-", "SHOULD_MISSED": "s", "FAIL": "F"}.get(self.name, "E")


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What one case found. `verdicts` has one entry for each of its rules."""

    case: str
    verdicts: Mapping[str, Verdict]
    line: str = ""  # one line: what was wrong, why it was not measured, or the value recorded
    detail: str = ""  # the whole text of a failure
    notes: Mapping[str, str] = field(default_factory=dict)  # INFO rules: what this target does
    artefacts: Mapping[str, str] = field(default_factory=dict)  # file name -> text, for the case's own folder
    tally: Mapping[str, int] = field(default_factory=dict)  # what the case counted: crash points, calls failed …

    @property
    def heaviest(self) -> Verdict:
        """The heaviest of its verdicts."""
        return max(self.verdicts.values(), key=lambda verdict: verdict.weight)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for results.json and for pytest-xdist's wire."""
        return {
            "case": self.case,
            "verdicts": {rule: verdict.value for rule, verdict in sorted(self.verdicts.items())},
            "line": self.line,
            "detail": self.detail,
            "notes": dict(self.notes),
            "artefacts": dict(self.artefacts),
            "tally": dict(self.tally),
        }

    def line_for(self, rule: str) -> str:
        """One line about one of its rules."""
        if self.verdicts[rule] is Verdict.NOT_MEASURED and self.heaviest is not Verdict.NOT_MEASURED:
            return f"{self.case} ended at another of its rules"
        return self.notes.get(rule, self.line)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CaseResult:
        """The inverse of `as_json`."""
        verdicts = {rule: Verdict(word) for rule, word in value["verdicts"].items()}
        return cls(
            value["case"],
            verdicts,
            line=value["line"],
            detail=value["detail"],
            notes=value["notes"],
            artefacts=value["artefacts"],
            tally=value["tally"],
        )


def of_miss(rule: Rule) -> Verdict:
    """The verdict of a case that found a rule not kept."""
    return {Level.MUST: Verdict.FAIL, Level.SHOULD: Verdict.SHOULD_MISSED, Level.INFO: Verdict.INFO}[rule.level]


def of_pass(rule: Rule) -> Verdict:
    """The verdict of a case that found nothing amiss."""
    return Verdict.INFO if rule.level is Level.INFO else Verdict.PASS


@dataclass(frozen=True, slots=True)
class RuleResult:
    """A rule with all that its cases say."""

    rule: Rule
    verdict: Verdict
    cases: int
    line: str
    measured: bool = True  # by one of its cases at least


def roll_up(catalogue: Mapping[str, Rule], results: Iterable[CaseResult]) -> list[RuleResult]:
    """One entry for each rule that has a case, in the catalogue's order; its verdict is the heaviest."""
    by_rule: dict[str, list[CaseResult]] = {}
    for result in results:
        for judged in result.verdicts:
            by_rule.setdefault(judged, []).append(result)
    rolled = []
    for name, rule in catalogue.items():
        cases = sorted(by_rule.get(name, ()), key=lambda case: (-case.verdicts[name].weight, case.case))
        if cases:
            worst = cases[0]
            line = rule.sentence if worst.verdicts[name] is Verdict.PASS else worst.line_for(name)
            measured = any(case.verdicts[name] is not Verdict.NOT_MEASURED for case in cases)
            rolled.append(RuleResult(rule, worst.verdicts[name], len(cases), line, measured))
    return rolled


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What a run as a whole says: the last line and the exit status."""

    status: int
    line: str


def conclude(rules: Iterable[RuleResult], unjudged: Iterable[Rule] = (), conformant: str = "conformant") -> Conclusion:
    """0 conformant, 1 a MUST rule is broken, 3 the harness failed or nothing was measured.

    `unjudged` are rules that were asked for and had no case; `conformant` is what may be said when all is well.
    """
    rules = list(rules)
    count = {verdict: sum(rule.verdict is verdict for rule in rules) for verdict in Verdict}
    if count[Verdict.HARNESS_ERROR]:
        return Conclusion(3, f"harness error in {counted(count[Verdict.HARNESS_ERROR])}: this run proves nothing")
    if count[Verdict.FAIL]:
        return Conclusion(1, f"not conformant: {counted(count[Verdict.FAIL])} broken")
    if not any(rule.measured for rule in rules):
        return Conclusion(3, "nothing was measured")
    unmeasured = [rule.rule.id for rule in rules if rule.verdict is Verdict.NOT_MEASURED and _is_must(rule.rule)]
    unseen = [rule.id for rule in unjudged if _is_must(rule)]
    remarks = []
    if unmeasured:
        remarks.append(f"not measured: {', '.join(unmeasured)}")
    if unseen:
        remarks.append(f"{counted(len(unseen), 'MUST rule')} not judged yet")
    if count[Verdict.SHOULD_MISSED]:
        remarks.append(f"{counted(count[Verdict.SHOULD_MISSED])} of level SHOULD missed")
    start = f"{conformant} as far as measured" if unmeasured or unseen else conformant
    return Conclusion(0, "; ".join([start, *remarks]))


def _is_must(rule: Rule) -> bool:
    return rule.level is Level.MUST


def counted(count: int, what: str = "rule") -> str:
    """A number and its noun."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
