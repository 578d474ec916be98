"""From a finished case to its verdicts: whose fault was it, and which of the case's rules does it concern?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from smap_conformance import failure
from smap_conformance.catalogue import Rule
from smap_conformance.expect import Miss
from smap_conformance.verdict import CaseResult, Verdict, of_miss, of_pass

CAME_TO_AN_END_BEFORE = "the case ended at another of its rules"


@dataclass(frozen=True, slots=True)
class Finished:
    """A case that has run. `raised` is what it raised, `notes` what it recorded, `scene` what its place looked like."""

    case: str
    rules: tuple[str, ...]
    phase: str  # setup, call, teardown
    outcome: str  # passed, failed, skipped
    raised: BaseException | None = None
    text: str = ""  # the reason of a skip; the traceback of an error
    notes: Mapping[str, str] = field(default_factory=dict)
    tally: Mapping[str, int] = field(default_factory=dict)  # what it counted, passed or not
    scene: Mapping[str, str] = field(default_factory=dict)
    work: str = ""  # the sandbox's work directory, another one at each run: written as $WORK


def rules_of(item: pytest.Item) -> list[str]:
    """The rule ids of a case, in the order of its marks."""
    return list(dict.fromkeys(rule for mark in item.iter_markers("rule") for rule in mark.args))


def case_of(item: pytest.Item) -> str:
    """A case's own name: file, function and parameters, the same from a clone and from a wheel."""
    return f"{item.path.stem.removeprefix('test_')}::{item.name}"


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions within groups, however deep (hypothesis raises several failures of one property together)."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def fault_of_the_target(error: BaseException | None) -> AssertionError | None:
    """The first assertion, if there is nothing but assertions: everything else is the harness's own fault."""
    found = list(leaves(error)) if error is not None else []
    assertions = [one for one in found if isinstance(one, AssertionError)]
    return assertions[0] if found and len(assertions) == len(found) else None


def blamed_rules(error: BaseException | None, ids: Sequence[str]) -> list[str]:
    """The rules that the misses name, of several raised together too; all, where one of them names none."""
    named = [one.rule if isinstance(one, Miss) else None for one in leaves(error)] if error is not None else []
    return [name for name in ids if name in named] if named and all(name in ids for name in named) else list(ids)


def judge(rules: Mapping[str, Rule], finished: Finished, again: str) -> CaseResult:
    """What one finished case says about each of its rules. `again` is the command that runs it once more."""
    return replace(_judged(rules, finished, again), tally=dict(finished.tally))


def _judged(rules: Mapping[str, Rule], finished: Finished, again: str) -> CaseResult:

    def neutral(text: str) -> str:
        return text.replace(finished.work, "$WORK") if finished.work else text

    case, ids, notes = finished.case, finished.rules, finished.notes
    scene = {name: neutral(text) for name, text in finished.scene.items()}
    if finished.outcome == "skipped":
        return CaseResult(case, dict.fromkeys(ids, Verdict.NOT_MEASURED), finished.text.removeprefix("Skipped: "))
    if finished.outcome == "passed":
        return CaseResult(case, {name: of_pass(rules[name]) for name in ids}, notes=notes)
    missed = fault_of_the_target(finished.raised) if finished.phase == "call" else None
    if missed is None:
        line = f"{type(finished.raised).__name__}: {finished.raised}".splitlines()[0]
        return CaseResult(case, dict.fromkeys(ids, Verdict.HARNESS_ERROR), line, finished.text, notes, scene)
    blamed = blamed_rules(finished.raised, ids)
    verdicts = {name: of_miss(rules[name]) if name in blamed else Verdict.NOT_MEASURED for name in ids}
    line = str(missed).splitlines()[0] if str(missed) else "an assertion failed"
    detail = failure.text([rules[name] for name in blamed], case, missed, scene, again)
    return CaseResult(case, verdicts, neutral(line), neutral(detail), notes, scene)
