"""The results of a run: results.json, the artefacts of failing cases, and the plain table."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from smap_conformance.catalogue import Rule
from smap_conformance.verdict import CaseResult, Conclusion, RuleResult, Verdict, conclude, counted, roll_up

SCHEMA = 1
BAD = (Verdict.FAIL, Verdict.SHOULD_MISSED, Verdict.HARNESS_ERROR)


@dataclass(frozen=True, slots=True)
class Run:
    """One target's run.

    `first_sanity` holds what the first sanity delivery complained of, `harness_errors` what makes the run worthless;
    `asked` are the ids of the rules that the run was to judge (empty: only certain cases were asked for).
    """

    target: str
    cases: tuple[CaseResult, ...]
    first_sanity: tuple[str, ...] = ()
    harness_errors: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()

    def rules(self, catalogue: Mapping[str, Rule]) -> list[RuleResult]:
        """The roll-up, in the catalogue's order."""
        return roll_up(catalogue, self.cases)

    def unjudged(self, catalogue: Mapping[str, Rule]) -> list[Rule]:
        """The rules that were asked for and have no case."""
        judged = {rule for case in self.cases for rule in case.verdicts}
        return [catalogue[name] for name in self.asked if name in catalogue and name not in judged]

    def not_measured(self) -> dict[str, list[str]]:
        """Reason → the cases that could not be measured for it, both sorted."""
        reasons: dict[str, list[str]] = {}
        for case in sorted(self.cases, key=lambda case: (case.line, case.case)):
            if case.heaviest is Verdict.NOT_MEASURED:
                reasons.setdefault(case.line, []).append(case.case)
        return reasons

    def tally(self) -> dict[str, int]:
        """What all cases together counted, sorted by name; nothing that was counted 0 times by all."""
        sums: Counter[str] = Counter()
        for case in self.cases:
            sums.update(case.tally)
        return {name: sums[name] for name in sorted(sums) if sums[name]}

    def _all_well(self, catalogue: Mapping[str, Rule]) -> str:
        """The word "conformant" is for those who were asked everything."""
        if not self.asked:
            return "the chosen cases broke no rule"
        if len(self.asked) < len(catalogue):
            return f"conformant in the {counted(len(self.asked))} asked for"
        return "conformant"

    def conclusion(self, catalogue: Mapping[str, Rule]) -> Conclusion:
        """The last line and the exit status."""
        if self.harness_errors:
            return Conclusion(3, f"harness error: {self.harness_errors[0]}")
        found = conclude(self.rules(catalogue), self.unjudged(catalogue), self._all_well(catalogue))
        failed = any(case.heaviest is Verdict.HARNESS_ERROR for case in self.cases)
        if self.first_sanity and found.status != 1 and not failed:
            return Conclusion(1, f"not conformant: no mail gets through: {self.first_sanity[0]}")
        return found


def plain_table(run: Run, catalogue: Mapping[str, Rule]) -> Iterator[str]:
    """One line for each rule that is not simply kept, and the counts."""
    rolled = run.rules(catalogue)
    for rule in rolled:
        if rule.verdict is not Verdict.PASS:
            yield f"{rule.rule.id:10} {rule.verdict.value:13} {rule.line}"
    count = {verdict: sum(rule.verdict is verdict for rule in rolled) for verdict in Verdict}
    yield ", ".join(f"{number} {verdict.value}" for verdict, number in count.items() if number) or "no rule was judged"


def as_json(run: Run, catalogue: Mapping[str, Rule]) -> dict[str, object]:
    """The whole run as plain values; nothing in it depends on the clock."""
    conclusion = run.conclusion(catalogue)
    return {
        "schema": SCHEMA,
        "target": run.target,
        "status": conclusion.status,
        "conclusion": conclusion.line,
        "asked": list(run.asked),
        "first_sanity": list(run.first_sanity),
        "tally": run.tally(),
        "harness_errors": list(run.harness_errors),
        "rules": [
            {
                "id": rule.rule.id,
                "level": rule.rule.level.value,
                "verdict": rule.verdict.value,
                "cases": rule.cases,
                "line": rule.line,
            }
            for rule in run.rules(catalogue)
        ],
        "cases": [case.as_json() for case in sorted(run.cases, key=lambda case: case.case)],
    }


def write(run: Run, catalogue: Mapping[str, Rule], directory: Path) -> None:
    """results.json, and a folder with the artefacts of each case that is not as it should be."""
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(as_json(run, catalogue), indent=1, sort_keys=True, ensure_ascii=False)
    (directory / "results.json").write_text(text + "\n", encoding="utf-8")
    for case in run.cases:
        if any(verdict in BAD for verdict in case.verdicts.values()):
            folder = directory / "cases" / folder_name(case.case)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "failure.txt").write_text(case.detail + "\n", encoding="utf-8")
            for name, artefact in case.artefacts.items():
                (folder / f"{name}.txt").write_text(artefact + "\n", encoding="utf-8")


def folder_name(case: str) -> str:
    """A case's name as a directory name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", case).strip("-")[:120]


def read(directory: Path) -> Run:
    """The run of an earlier `write`. ValueError when the file is not ours."""
    plain = json.loads((directory / "results.json").read_text(encoding="utf-8"))
    if plain.get("schema") != SCHEMA:
        raise ValueError(f"{directory}/results.json: schema {plain.get('schema')!r} is not {SCHEMA}")
    cases = tuple(CaseResult.from_json(case) for case in plain["cases"])
    return Run(
        plain["target"], cases, tuple(plain["first_sanity"]), tuple(plain["harness_errors"]), tuple(plain["asked"])
    )
