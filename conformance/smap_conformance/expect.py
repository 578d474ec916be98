"""The vocabulary of cases: what was expected, what came, and what could not be measured.

`expect("reply to HELO", reply, codes(250))` reads as the sentence that a failure prints: what was looked at, the
acceptable outcomes, the actual one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import pytest


def writable(text: str) -> str:
    """Text that can be written down: a target may give a file a name that is no UTF-8, and then it is escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class Miss(AssertionError):  # noqa: N818 - it is no error of ours
    """A rule not kept: the target's doing, never the harness's."""

    def __init__(self, what: str, acceptable: str, actual: str, rule: str | None = None, fault: str = "") -> None:
        what, acceptable, actual, fault = map(writable, (what, acceptable, actual, fault))
        super().__init__(f"{what}: expected {acceptable}; got {actual}")
        self.what, self.acceptable, self.actual, self.rule = what, acceptable, actual, rule
        self.fault = fault  # what was done to the target's world, for the failure's own line


class Overdue(Miss):
    """A miss because something did not come within its bound."""


class Misdeclared(Miss):
    """A choice that the target's manifest declares otherwise: one of them is wrong, whatever the rule's level."""


@dataclass(frozen=True, slots=True)
class Acceptable:
    """A set of outcomes, described in words."""

    words: str
    holds: Callable[[Any], bool]

    def __or__(self, other: Acceptable) -> Acceptable:
        return Acceptable(f"{self.words} or {other.words}", lambda actual: self.holds(actual) or other.holds(actual))


def codes(*wanted: int | str) -> Acceptable:
    """Replies by code (250) or class ("5xx", "50x"); a missing reply (None) is never acceptable."""
    patterns = [str(code) for code in wanted]

    def holds(reply: Any) -> bool:
        code = str(getattr(reply, "code", reply))
        return any(
            len(code) == len(pattern) and all(p in ("x", c) for p, c in zip(pattern, code, strict=True))
            for pattern in patterns
        )

    return Acceptable(" or ".join(patterns), holds)


def exactly(value: object) -> Acceptable:
    """Equal to the value, which is shown (long bytes shortened)."""
    return Acceptable(shown(value), lambda actual: bool(actual == value))


def one_of(*values: object) -> Acceptable:
    """Equal to one of the values."""
    return Acceptable(" or ".join(map(shown, values)), lambda actual: actual in values)


def such_that(words: str, holds: Callable[[Any], bool]) -> Acceptable:
    """Anything for which `holds` is true; `words` complete "expected …"."""
    return Acceptable(words, holds)


def shown(value: object) -> str:
    """A value for a person: long bytes as head, tail and length."""
    if isinstance(value, bytes) and len(value) > 240:
        return f"{value[:100]!r} … {value[-100:]!r} ({len(value)} bytes)"
    text = str(value) if hasattr(value, "code") else repr(value)
    return text if len(text) <= 600 else f"{text[:400]} … ({len(text)} characters)"


def expect(what: str, actual: object, acceptable: Acceptable, *, rule: str | None = None) -> None:
    """Miss unless `actual` is acceptable. `rule` narrows the blame where a case carries several rules."""
    if not acceptable.holds(actual):
        raise Miss(what, acceptable.words, shown(actual), rule)


def miss(what: str, acceptable: str, actual: object, *, rule: str | None = None) -> NoReturn:
    """The same for a condition that the case has worked out itself."""
    raise Miss(what, acceptable, actual if isinstance(actual, str) else shown(actual), rule)


def missed(misses: Sequence[Miss]) -> None:
    """Raise what was found, where anything was: each blames its own rule, and the text is the first one's."""
    if len(misses) == 1:
        raise misses[0]
    if misses:
        raise ExceptionGroup(f"{len(misses)} rules are not kept", list(misses))


def not_measured(reason: str) -> NoReturn:
    """End the case without a verdict; the reason, with the means that would allow it, is counted and shown."""
    pytest.skip(reason)
