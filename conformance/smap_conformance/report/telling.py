"""A failure's text taken apart again, so that a page can lay it out: what was looked at, acceptable, actual, again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LABELS = {"looked at:": "looked_at", "acceptable:": "acceptable", "actual:": "actual", "again:": "again"}
_NOTHING = re.compile(r"\((no run|nothing|empty|no table)\)\s*\Z")
_FILE = re.compile(
    r"(?P<name>.*?)(?: (?P<kind>directory|symlink|fifo|socket|device))? (?P<mode>[0-7]{3,4}) (?P<size>\d+) bytes"
    r" (?P<locks>\S+) sha256 (?P<sha>\S+)"
)


@dataclass(frozen=True, slots=True)
class Told:
    """What a failure says, each "" where it does not say it."""

    looked_at: str = ""
    acceptable: str = ""
    actual: str = ""
    again: str = ""
    traceback: str = ""  # of a harness error, which has nothing else


def told(case: Mapping[str, Any]) -> Told:
    """The parts of one case of results.json."""
    detail = str(case["detail"])
    found = dict.fromkeys(_LABELS.values(), "")
    lines = detail.splitlines()
    at = 0
    while at < len(lines) and not lines[at].startswith("--- "):
        label = next((label for label in _LABELS if lines[at].startswith(label)), None)
        if label is None or found[_LABELS[label]]:
            at += 1
            continue
        text = [lines[at].removeprefix(label).strip()]
        at += 1
        while at < len(lines) and lines[at] and not lines[at].startswith(("--- ", *_LABELS)):
            text.append(lines[at])
            at += 1
        found[_LABELS[label]] = "\n".join(text)
    last = next((line for line in reversed(lines) if line.startswith("again:")), "")
    found["again"] = last.removeprefix("again:").strip()
    told = Told(**found)
    return told if told.actual or told.again else Told(traceback=detail)


def words_of(case: str) -> tuple[str, str]:
    """A case's name as a person would say it, and the parameters of the case: `talks` and `2 MB`."""
    function = case.partition("::")[2] or case
    name, _, parameters = function.partition("[")
    return name.removeprefix("test_").replace("_", " "), parameters.removesuffix("]")


def is_nothing(text: str) -> bool:
    """Whether an artefact says that there was nothing."""
    return not text.strip() or _NOTHING.match(text.strip()) is not None


def files(text: str) -> list[dict[str, str]] | None:
    """The lines of a directory's listing as rows; None where one of them is no such line."""
    found = [_FILE.fullmatch(line) for line in text.splitlines()]
    if not found or None in found:
        return None
    return [{name: value or "" for name, value in each.groupdict().items()} for each in found if each]
