"""The results of a run: results.json, whose form is results.schema.json, and the artefacts of failing cases.

Only `started`, `seconds` and what a case itself printed differ from one run to the next.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from smap_conformance.catalogue import Level, Rule
from smap_conformance.known import Known, Standing, standings
from smap_conformance.verdict import CaseResult, Conclusion, RuleResult, Verdict, conclude, counted, roll_up

SCHEMA = 2
SCHEMA_PATH = Path(__file__).with_name("results.schema.json")
BAD = (Verdict.FAIL, Verdict.SHOULD_MISSED, Verdict.HARNESS_ERROR)
LEFT_IN = (*BAD, Verdict.KNOWN)  # a folder of its own for each case with one of these


@dataclass(frozen=True, slots=True)
class About:
    """What a run was about, besides its cases."""

    version: str = ""
    language: str = ""
    level: str = "all"
    only: str = ""
    options: tuple[str, ...] = ()  # of `smaplab run`, apart from the choice of rules and cases: the same target again
    declared: Mapping[str, str] = field(default_factory=dict)  # the manifest's [choices]
    environment: Mapping[str, Any] = field(default_factory=dict)
    started: str = ""  # date and time of day, UTC
    seconds: float = 0.0


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
    known: tuple[Known, ...] = ()
    about: About = About()

    def rules(self, catalogue: Mapping[str, Rule]) -> list[RuleResult]:
        """The roll-up, in the catalogue's order."""
        passing = {entry.rule: entry for entry, standing in self.standings() if standing is Standing.UNEXPECTED_PASS}
        found = []
        for rule in roll_up(catalogue, self.cases):
            entry = passing.get(rule.rule.id)
            if entry is not None and rule.verdict.weight < Verdict.UNEXPECTED_PASS.weight:
                line = f"known to fail with {entry.match!r} ({entry.reason}), and does so no more"
                found.append(replace(rule, verdict=Verdict.UNEXPECTED_PASS, line=line))
            else:
                found.append(rule)
        return found

    def standings(self) -> list[tuple[Known, Standing]]:
        """Each known deviation with what this run says about it."""
        return standings(self.known, self.cases, self.asked)

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

    def choices(self) -> dict[str, list[str]]:
        """What was seen of the choices that a manifest may declare."""
        seen: dict[str, set[str]] = {}
        for case in self.cases:
            for name, value in case.choices.items():
                seen.setdefault(name, set()).add(value)
        return {name: sorted(seen[name]) for name in sorted(seen)}

    def deviating(self, catalogue: Mapping[str, Rule]) -> list[str]:
        """The MUST rules of which a known deviation was seen, in the catalogue's order."""
        seen = {rule for case in self.cases for rule, verdict in case.verdicts.items() if verdict is Verdict.KNOWN}
        return [name for name, rule in catalogue.items() if name in seen and rule.level is Level.MUST]

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
        deviating = self.deviating(catalogue)
        found = conclude(self.rules(catalogue), self.unjudged(catalogue), self._all_well(catalogue), deviating)
        failed = any(case.heaviest is Verdict.HARNESS_ERROR for case in self.cases)
        if found.status == 3 and not failed:
            reason = next(iter(self.not_measured()), "no case belongs to what was asked for")
            found = Conclusion(3, f"{found.line}: {reason}")
        if self.first_sanity and found.status != 1 and not failed:
            no_mail = f"no mail gets through: {self.first_sanity[0]}"
            return Conclusion(1, no_mail if deviating else f"not conformant: {no_mail}")
        otherwise = [entry.rule for entry, standing in self.standings() if standing is Standing.OTHERWISE]
        if otherwise and found.status == 0:
            return Conclusion(1, f"known deviations that fail in another way: {', '.join(dict.fromkeys(otherwise))}")
        return found


def plain_table(run: Run, catalogue: Mapping[str, Rule]) -> Iterator[str]:
    """One line for each rule that is not simply kept, and the counts."""
    rolled = run.rules(catalogue)
    for rule in rolled:
        if rule.verdict is not Verdict.PASS:
            yield f"{rule.rule.id:10} {rule.verdict.value:15} {rule.line}"
    count = {verdict: sum(rule.verdict is verdict for rule in rolled) for verdict in Verdict}
    yield ", ".join(f"{number} {verdict.value}" for verdict, number in count.items() if number) or "no rule was judged"


def as_json(run: Run, catalogue: Mapping[str, Rule]) -> dict[str, Any]:
    """The whole run as plain values."""
    conclusion = run.conclusion(catalogue)
    about = asdict(run.about)
    named = folders(run)
    return {
        "schema": SCHEMA,
        "target": run.target,
        **about,
        "options": list(run.about.options),
        "status": conclusion.status,
        "conclusion": conclusion.line,
        "asked": list(run.asked),
        "first_sanity": list(run.first_sanity),
        "harness_errors": list(run.harness_errors),
        "tally": run.tally(),
        "choices": run.choices(),
        "rules": [_rule(rule, run) for rule in run.rules(catalogue)],
        "cases": [_case(case, named) for case in sorted(run.cases, key=lambda case: case.case)],
        "known": [{**asdict(entry), "standing": standing.value} for entry, standing in run.standings()],
        "not_measured": _not_measured(run),
        "not_judged": [
            {"id": rule.id, "level": rule.level.value, "reason": rule.untested or "no case of it was run"}
            for rule in run.unjudged(catalogue)
        ],
    }


def _rule(rule: RuleResult, run: Run) -> dict[str, Any]:
    verdicts = Counter(case.verdicts[rule.rule.id].value for case in run.cases if rule.rule.id in case.verdicts)
    return {
        "id": rule.rule.id,
        "level": rule.rule.level.value,
        "sentence": rule.rule.sentence,
        "source": rule.rule.source,
        "verdict": rule.verdict.value,
        "cases": rule.cases,
        "cases_by_verdict": dict(sorted(verdicts.items())),
        "line": rule.line,
    }


def _case(case: CaseResult, named: Mapping[str, str]) -> dict[str, Any]:
    plain = case.as_json()
    artefacts = {name: text for name, text in case.artefacts.items() if "." not in name}
    files = []
    if folder := named.get(case.case):
        files = [f"{folder}/{name}" for name in ("failure.txt", *sorted(map(file_name, case.artefacts)))]
    return {**plain, "artefacts": artefacts, "files": files}


def _not_measured(run: Run) -> list[dict[str, Any]]:
    rules = {case.case: list(case.verdicts) for case in run.cases}
    return [
        {"reason": reason, "cases": cases, "rules": sorted({rule for case in cases for rule in rules[case]})}
        for reason, cases in run.not_measured().items()
    ]


def write(run: Run, catalogue: Mapping[str, Rule], directory: Path) -> None:
    """A folder with the artefacts of each case that is not as it should be; results.json, when all else is there."""
    directory.mkdir(parents=True, exist_ok=True)
    named = folders(run)
    for old in sorted(directory.glob("cases/*/failure.txt")):  # of an earlier run: it may have been mended since
        shutil.rmtree(old.parent)
    for case in run.cases:
        if case.case in named and _left_in(case):
            folder = directory / named[case.case]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "failure.txt").write_text(case.detail + "\n", encoding="utf-8")
            for name, artefact in case.artefacts.items():
                end = "" if artefact.endswith("\n") else "\n"
                (folder / file_name(name)).write_bytes((artefact + end).encode())
    text = json.dumps(as_json(run, catalogue), indent=1, sort_keys=True, ensure_ascii=False)
    new = directory / "results.json.new"
    new.write_text(text + "\n", encoding="utf-8")
    new.replace(directory / "results.json")


def _left_in(case: CaseResult) -> bool:
    return any(verdict in LEFT_IN for verdict in case.verdicts.values())


def folders(run: Run) -> dict[str, str]:
    """Failing case → its folder within the report; two cases never share one."""
    found: dict[str, str] = {}
    alike: Counter[str] = Counter()
    for name in sorted({case.case for case in run.cases if _left_in(case)}):
        folder = f"cases/{folder_name(name)}"
        alike[folder] += 1
        found[name] = folder if alike[folder] == 1 else f"{folder}~{alike[folder]}"  # no name of a case has a ~ left
    return found


def folder_name(case: str) -> str:
    """A case's name as a directory name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", case).strip("-")[:120]


def file_name(artefact: str) -> str:
    """The file of an artefact: text for a person, unless its name says what it is (history.jsonl)."""
    return artefact if "." in artefact else f"{artefact}.txt"


def read(directory: Path) -> Run:
    """The run of an earlier `write`. ValueError when the file is not ours."""
    path = directory / "results.json"
    plain = json.loads(path.read_text(encoding="utf-8"))
    schema = plain.get("schema") if isinstance(plain, dict) else None
    if schema != SCHEMA:
        raise ValueError(f"schema {schema!r} is not {SCHEMA}")
    about = {name: plain[name] for name in asdict(About())} | {"options": tuple(plain["options"])}
    return Run(
        plain["target"],
        tuple(_read_case(case, directory) for case in plain["cases"]),
        tuple(plain["first_sanity"]),
        tuple(plain["harness_errors"]),
        tuple(plain["asked"]),
        tuple(Known(entry["rule"], entry["reason"], entry["match"], entry["issue"]) for entry in plain["known"]),
        About(**about),
    )


def _read_case(plain: dict[str, Any], directory: Path) -> CaseResult:
    """A case, with those of its artefacts that are too large for results.json."""
    left = {Path(name).name: directory / name for name in plain["files"] if not name.endswith(".txt")}
    kept = {name: path.read_bytes().decode() for name, path in left.items() if path.is_file()}
    return CaseResult.from_json({**plain, "artefacts": plain["artefacts"] | kept})
