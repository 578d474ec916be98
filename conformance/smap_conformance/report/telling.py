"""The text of a case taken apart, so that a page can lay it out: its name, and the listings of directories."""

from __future__ import annotations

import re

_NOTHING = re.compile(r"\((no run|nothing|empty|no table)\)\s*\Z")
_FILE = re.compile(
    r"(?P<name>.*?)(?: (?P<kind>directory|symlink|fifo|socket|device))? (?P<mode>[0-7]{3,4}) (?P<size>\d+) bytes"
    r" (?P<locks>\S+) sha256 (?P<sha>\S+)"
)


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
