"""Verdicts: what a case says about its rules, and what the cases together say about a rule and a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from smap_conformance.catalogue import Level, Rule
from smap_conformance.failure import Failure


class Verdict(Enum):
    """In order of weight: a rule's verdict is the heaviest of its cases'."""

    PASS = "pass"  # noqa: S105 - a verdict
    INFO = "info"
    NOT_MEASURED = "not measured"
    KNOWN = "known"
    SHOULD_MISSED = "should-missed"
    UNEXPECTED_PASS = "unexpected pass"  # noqa: S105 - a rule's only, never a case's
    FAIL = "FAIL"
    HARNESS_ERROR = "harness error"

    @property
    def weight(self) -> int:
        """The place in the order of weight, from 0."""
        return list(Verdict).index(self)

    @property
    def letter(self) -> str:
        """One character for a progress line."""
        return LETTERS[self.value]


LETTERS = {
    "pass": ".",
    "info": "i",
    "not measured": "-",
    "known": "k",
    "should-missed": "s",
    "unexpected pass": "P",
    "FAIL": "F",
    "harness error": "E",
}


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
    failure: Failure | None = None  # where it failed: the same in parts
    choices: Mapping[str, str] = field(default_factory=dict)  # what it saw of choices that a manifest may declare
    seconds: float = 0.0

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
            "failure": self.failure.as_json() if self.failure else None,
            "choices": dict(self.choices),
            "seconds": round(self.seconds, 3),
        }

    def line_for(self, rule: str) -> str:
        """One line about one of its rules."""
        if self.verdicts[rule] is Verdict.NOT_MEASURED and self.heaviest is not Verdict.NOT_MEASURED:
            return f"{self.case} ended at another of its rules"
        return (
            self.line if self.verdicts[rule].weight > Verdict.NOT_MEASURED.weight else self.notes.get(rule, self.line)
        )

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
            failure=Failure.from_json(value["failure"]) if value["failure"] else None,
            choices=value["choices"],
            seconds=value["seconds"],
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


def conclude(
    rules: Iterable[RuleResult],
    unjudged: Iterable[Rule] = (),
    conformant: str = "conformant",
    deviating: Sequence[str] = (),
) -> Conclusion:
    """0 conformant, 1 a MUST rule is broken or a known deviation is none, 3 the harness failed or nothing was measured.

    `unjudged` are rules that were asked for and had no case; `conformant` is what may be said when all is well.
    `deviating` are MUST rules with a known deviation: who has one is never called conformant.
    """
    rules = list(rules)
    by_verdict = {verdict: [rule for rule in rules if rule.verdict is verdict] for verdict in Verdict}
    if erring := by_verdict[Verdict.HARNESS_ERROR]:
        return Conclusion(3, f"harness error in {counted(len(erring))}: this run proves nothing")
    besides = f"; known deviations besides: {', '.join(deviating)}" if deviating else ""
    if broken := by_verdict[Verdict.FAIL]:
        return Conclusion(1, f"{'' if deviating else 'not conformant: '}{counted(len(broken))} broken{besides}")
    if passing := [rule.rule.id for rule in by_verdict[Verdict.UNEXPECTED_PASS]]:
        mend = "take what is mended out of [[known]]"
        return Conclusion(1, f"unexpected pass of known deviations: {', '.join(passing)}: {mend}")
    if not any(rule.measured for rule in rules):
        return Conclusion(3, "nothing was measured")
    return Conclusion(0, _all_well(by_verdict, unjudged, conformant, deviating))


def _all_well(
    by_verdict: Mapping[Verdict, Sequence[RuleResult]],
    unjudged: Iterable[Rule],
    conformant: str,
    deviating: Sequence[str],
) -> str:
    unmeasured = [rule.rule.id for rule in by_verdict[Verdict.NOT_MEASURED] if _is_must(rule.rule)]
    unseen = [rule.id for rule in unjudged if _is_must(rule)]
    known = [rule.rule.id for rule in by_verdict[Verdict.KNOWN] if not _is_must(rule.rule)]
    start = "no failure but what is known" if deviating else conformant
    remarks = [f"{start} as far as measured" if unmeasured or unseen else start]
    if deviating:
        remarks.append(f"known deviations from {counted(len(deviating), 'MUST rule')}: {', '.join(deviating)}")
    if unmeasured:
        remarks.append(f"not measured: {', '.join(unmeasured)}")
    if unseen:
        remarks.append(f"{counted(len(unseen), 'MUST rule')} not judged yet")
    if known:
        remarks.append(f"known deviations of level SHOULD: {', '.join(known)}")
    if missed := by_verdict[Verdict.SHOULD_MISSED]:
        remarks.append(f"{counted(len(missed))} of level SHOULD missed")
    return "; ".join(remarks)


def _is_must(rule: Rule) -> bool:
    return rule.level is Level.MUST


def counted(count: int, what: str = "rule") -> str:
    """A number and its noun."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
