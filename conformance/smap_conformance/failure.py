"""The text of a failure: rule, why, what was sent, what would have been right, what came, how to see it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from smap_conformance.catalogue import Rule
from smap_conformance.expect import Miss

SECTION_LINES_MAX = 60
SHORT_BYTES = 40
FOR_MACHINES = (".json", ".jsonl")  # artefacts that nobody reads line by line


def text(rules: Iterable[Rule], case: str, error: AssertionError, scene: Mapping[str, str], again: str) -> str:
    """Everything about a failure, the most important first; sections begin with `--- name`."""
    lines = []
    for rule in rules:
        lines += [f"{rule.level.value} {rule.id}: {rule.sentence}", f"source: {rule.source}", f"why: {rule.why}"]
    lines.append(f"case: {case}")
    if isinstance(error, Miss):
        lines += [f"looked at:  {error.what}", f"acceptable: {error.acceptable}", f"actual:     {error.actual}"]
    else:
        lines.append(f"actual:     the case's assertion failed: {error}")
    for name, section in scene.items():
        content = section.splitlines()
        if name.endswith(FOR_MACHINES):
            lines += ["", f"--- {name}: {len(content)} lines, in the case's folder"]
        elif len(content) == 1 and len(section) < SHORT_BYTES:
            lines += ["", f"--- {name}: {section.strip()}"]
        else:
            lines += ["", f"--- {name}", *shortened(content, SECTION_LINES_MAX)]
    return "\n".join([*lines, "", f"again: {again}"])


def shortened(lines: list[str], lines_max: int) -> list[str]:
    """The first lines, and how many more there are."""
    left = len(lines) - lines_max
    return lines if left <= 1 else [*lines[:lines_max], f"… {left} more lines"]
