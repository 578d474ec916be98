"""Known deviations: failures that an implementation's manifest owns up to, each with a reason.

An entry names a rule and a text that the failure must contain. A failure that no entry covers stays a failure; an entry
that covers none although its rule was measured is an unexpected pass: the mend has been made, and the entry must go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from smap_conformance.failure import Failure
from smap_conformance.verdict import CaseResult, Verdict

FRAGMENT_MAX = 100
FRAGMENT_MIN = 4
# What is another one at each run: places of the sandbox, names and inodes of files, numbers of processes, digests,
# bounds (a target that has let many pass is given short ones).
VOLATILE = re.compile(r"\$WORK\S*|\binode \d+|\bwithin [\d.]+ s\b|\b(?=[0-9a-f]*\d)[0-9a-f]{6,}\b|\S*\d{4,}\S*|…")
NOT_EXPLAINED = "not explained yet"


@dataclass(frozen=True, slots=True)
class Known:
    """One entry of a manifest."""

    rule: str
    reason: str
    match: str
    issue: str = ""

    def covers(self, rule: str, failure: Failure | None) -> bool:
        """Whether this rule failing in this way is what the entry means."""
        if failure is None or failure.misdeclared:
            return False
        return rule == self.rule and self.match in failure.searched

    @property
    def words(self) -> str:
        """The reason and where it is discussed."""
        return f"{self.reason} ({self.issue})" if self.issue else self.reason

    def as_toml(self) -> str:
        """The entry as a manifest has it."""
        rows = {"rule": self.rule, "reason": self.reason, "match": self.match, "issue": self.issue}
        return "\n".join(["[[known]]", *(f"{key} = {quoted(value)}" for key, value in rows.items() if value)])


class Standing(Enum):
    """What a run says about an entry."""

    KNOWN = "known"
    UNEXPECTED_PASS = "unexpected pass"  # noqa: S105 - a verdict
    OTHERWISE = "fails in another way"
    NOT_MEASURED = "not measured"
    NOT_ASKED = "not asked"  # the run was not to judge its rule, or not with all its cases


def standings(
    entries: Iterable[Known], cases: Iterable[CaseResult], asked: Iterable[str]
) -> list[tuple[Known, Standing]]:
    """Each entry with what the cases say about it. `asked` are the rules whose cases have all been run."""
    cases, asked = list(cases), set(asked)
    found = []
    for entry in entries:
        judged = [case for case in cases if entry.rule in case.verdicts]
        verdicts = {case.verdicts[entry.rule] for case in judged}
        if any(entry.covers(entry.rule, case.failure) for case in judged):
            standing = Standing.KNOWN
        elif entry.rule not in asked:
            standing = Standing.NOT_ASKED
        elif verdicts & {Verdict.FAIL, Verdict.SHOULD_MISSED}:
            standing = Standing.OTHERWISE
        elif not verdicts or verdicts & {Verdict.NOT_MEASURED, Verdict.HARNESS_ERROR}:
            standing = Standing.NOT_MEASURED
        else:
            standing = Standing.UNEXPECTED_PASS
        found.append((entry, standing))
    return found


def verdicts_with(
    entries: Iterable[Known], verdicts: Mapping[str, Verdict], failure: Failure | None
) -> dict[str, Verdict]:
    """The verdicts of a case, with those failures that an entry covers turned into known ones."""
    entries = list(entries)
    failing = (Verdict.FAIL, Verdict.SHOULD_MISSED)
    return {
        rule: Verdict.KNOWN if verdict in failing and any(entry.covers(rule, failure) for entry in entries) else verdict
        for rule, verdict in verdicts.items()
    }


def from_failures(cases: Iterable[CaseResult]) -> list[tuple[Known, str]]:
    """An entry for each way in which a rule failed, and the failure in a line; the reason is the author's to give."""
    found: dict[tuple[str, str], tuple[Known, str]] = {}
    for case in cases:
        for rule, verdict in case.verdicts.items():
            if case.failure is None or case.failure.misdeclared:
                continue
            if verdict in (Verdict.FAIL, Verdict.SHOULD_MISSED):
                entry = Known(rule, NOT_EXPLAINED, fragment(case.failure))
                found.setdefault((rule, entry.match), (entry, f"{case.case}: {case.line}"))
    return [found[key] for key in sorted(found)]


def fragment(failure: Failure) -> str:
    """What of a failure will be there again when it fails in the same way: its longest piece that does not vary."""
    for text in (failure.outcome, failure.searched):
        pieces = [piece.strip(" ;:,") for line in text.splitlines() for piece in VOLATILE.split(line)]
        longest = max(pieces, key=len, default="")
        if len(longest) >= FRAGMENT_MIN:
            return longest[:FRAGMENT_MAX].rstrip()
    return failure.searched.partition("\n")[0]


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def quoted(text: str) -> str:
    """A basic string of TOML."""
    return '"' + "".join(_ESCAPES.get(c) or (f"\\u{ord(c):04x}" if c < " " or c == "\x7f" else c) for c in text) + '"'
