"""A failure: rule, why, what was sent, what would have been right, what came, how to see it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from smap_conformance.catalogue import Rule
from smap_conformance.expect import Misdeclared, Miss

SECTION_LINES_MAX = 60
SHORT_BYTES = 40
LINE_CHARACTERS_MAX = 1000  # a target that says 10 MB in a line is quoted, not repeated


@dataclass(frozen=True, slots=True)
class Failure:
    """What a failing case found, in parts. Where a plain assertion failed, only `actual` has text."""

    rules: tuple[str, ...]  # those of the case's rules that it is about
    looked_at: str
    acceptable: str
    actual: str
    fault: str = ""  # what was done to the target's world, where something was
    misdeclared: bool = False  # it is the manifest that is at odds with the target: nothing to be known, but mended
    again: str = ""  # the line for a shell that runs the case once more

    @property
    def outcome(self) -> str:
        """What was expected, and what came."""
        return f"expected {self.acceptable}; got {self.actual}" if self.acceptable else self.actual

    @property
    def searched(self) -> str:
        """The text in which the `match` of a known deviation is looked for."""
        looked_at = f"{self.looked_at}: " if self.looked_at else ""
        return f"{looked_at}{self.outcome}" + (f"\n{self.fault}" if self.fault else "")

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "rules": list(self.rules)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Failure:
        """The inverse."""
        return cls(**{**value, "rules": tuple(value["rules"])})


def of(error: AssertionError, rules: Iterable[str], again: str) -> Failure:
    """The parts of what a case raised."""
    if isinstance(error, Miss):
        misdeclared = isinstance(error, Misdeclared)
        what, acceptable, actual, fault = map(cut, (error.what, error.acceptable, error.actual, error.fault))
        return Failure(tuple(rules), what, acceptable, actual, fault, misdeclared, again)
    return Failure(tuple(rules), "", "", cut(f"the case's assertion failed: {error}"), again=again)


def text(rules: Iterable[Rule], case: str, failure: Failure, remarks: Iterable[str], scene: Mapping[str, str]) -> str:
    """Everything about a failure, the most important first; sections begin with `--- name`."""
    lines = []
    for rule in rules:
        lines += [f"{rule.level.value} {rule.id}: {rule.sentence}", f"source: {rule.source}", f"why: {rule.why}"]
    lines.append(f"case: {case}")
    if failure.fault:
        lines.append(f"fault: {failure.fault}")
    if failure.acceptable:
        lines += [f"looked at:  {failure.looked_at}", f"acceptable: {failure.acceptable}"]
    lines += [f"actual:     {failure.actual}", *remarks]
    for name, section in scene.items():
        content = section.splitlines()
        if "." in name:  # a file for programs, such as a history
            lines += ["", f"--- {name}: {len(content)} lines, in the case's folder"]
        elif len(content) == 1 and len(section) < SHORT_BYTES:
            lines += ["", f"--- {name}: {section.strip()}"]
        else:
            lines += ["", f"--- {name}", *shortened(content, SECTION_LINES_MAX)]
    return "\n".join([*lines, "", f"again: {failure.again}"])


def shortened(lines: list[str], lines_max: int) -> list[str]:
    """The first lines, none of them endless, and how many more there are."""
    left = len(lines) - lines_max
    kept = [cut(line) for line in (lines if left <= 1 else lines[:lines_max])]
    return kept if left <= 1 else [*kept, f"… {left} more lines"]


def cut(text: str) -> str:
    """The beginning of a text, and how much more there is."""
    left = len(text) - LINE_CHARACTERS_MAX
    return text if left <= 0 else f"{text[:LINE_CHARACTERS_MAX]} … {left} more characters"
