"""The results of a run: results.json, the artefacts of failing cases, and the plain table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from smap_conformance.catalogue import Rule
from smap_conformance.expect import Miss
from smap_conformance.verdict import CaseResult, Conclusion, RuleResult, Verdict, conclude, roll_up

SCHEMA = 1
BAD = (Verdict.FAIL, Verdict.SHOULD_MISSED, Verdict.HARNESS_ERROR)


@dataclass(frozen=True, slots=True)
class Run:
    """One target's run. `last_sanity` holds what the final sanity deliveries complained of."""

    target: str
    cases: tuple[CaseResult, ...]
    last_sanity: tuple[str, ...] = ()

    def rules(self, catalogue: Mapping[str, Rule]) -> list[RuleResult]:
        """The roll-up, in the catalogue's order."""
        return roll_up(catalogue, self.cases)

    def conclusion(self, catalogue: Mapping[str, Rule]) -> Conclusion:
        """The last line and the exit status."""
        if self.last_sanity:
            return Conclusion(3, f"harness error: the last sanity delivery failed: {self.last_sanity[0]}")
        return conclude(self.rules(catalogue))


def failure_text(
    rules: Mapping[str, Rule], case: str, blamed: list[str], error: AssertionError, scene: Mapping[str, str]
) -> str:
    """Everything about a failure, most important first."""
    lines = []
    for name in blamed:
        rule = rules[name]
        lines += [f"{rule.level.value} {rule.id}: {rule.sentence}", f"  source: {rule.source}", f"  why: {rule.why}"]
    lines.append(f"case: {case}")
    if isinstance(error, Miss):
        lines += [f"looked at:  {error.what}", f"acceptable: {error.acceptable}", f"actual:     {error.actual}"]
    else:
        lines.append(f"the case's assertion failed: {error}")
    for name, text in scene.items():
        shown = text.splitlines()
        lines += ["", f"--- {name}", *shown[:60], *([f"… {len(shown) - 60} more lines"] if len(shown) > 60 else [])]
    lines += ["", f"again: {rerun_line(case)}"]
    return "\n".join(lines)


def rerun_line(case: str) -> str:
    """The options that run one case again, to be added to the same command."""
    file, _, name = case.partition("::")
    return f"pytest --pyargs smap_conformance.suite.test_{file} -k '{name}' with the same --smap options"


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
        "last_sanity": list(run.last_sanity),
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
    return Run(plain["target"], cases, tuple(plain["last_sanity"]))
