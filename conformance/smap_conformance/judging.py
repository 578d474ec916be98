"""From a finished case to its verdicts: whose fault was it, and which of the case's rules does it concern?"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from smap_conformance import failure
from smap_conformance.catalogue import Rule
from smap_conformance.expect import Misdeclared, Miss, writable
from smap_conformance.failure import Failure
from smap_conformance.known import Known, verdicts_with
from smap_conformance.verdict import CaseResult, Verdict, of_miss, of_pass

SUITE = Path(__file__).with_name("suite")


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
    choices: Mapping[str, str] = field(default_factory=dict)  # what it saw of choices that a manifest may declare
    seconds: float = 0.0
    work: str = ""  # the sandbox's work directory, another one at each run: written as $WORK


def rules_of(item: pytest.Item) -> list[str]:
    """The rule ids of a case, in the order of its marks."""
    return list(dict.fromkeys(rule for mark in item.iter_markers("rule") for rule in mark.args))


def case_of(item: pytest.Item) -> str:
    """A case's own name: file, function and parameters, the same from a clone and from a wheel."""
    return f"{item.path.stem.removeprefix('test_')}::{item.name}"


def mode_of(item: pytest.Item) -> str | None:
    """The mode of inetd that a case is about, by its parameter `mode`: nowait, wait, or None for any."""
    callspec = getattr(item, "callspec", None)
    mode = callspec.params.get("mode") if callspec else None
    return mode if mode in ("nowait", "wait") else None


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions within groups, however deep (hypothesis raises several failures of one property together)."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def fault_of_the_target(error: BaseException | None) -> AssertionError | None:
    """The first miss or assertion of the case, if there is nothing else: everything else is the harness's own fault,
    its own assertions included, which are told to be bugs.
    """
    found = list(leaves(error)) if error is not None else []
    assertions = [one for one in found if isinstance(one, AssertionError) and (isinstance(one, Miss) or of_a_case(one))]
    return assertions[0] if found and len(assertions) == len(found) else None


def of_a_case(error: AssertionError) -> bool:
    """Whether it was raised in the suite's own folder, and not by what a case makes use of."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return not frames or SUITE in Path(frames[-1].f_code.co_filename).parents


def blamed_rules(error: BaseException | None, ids: Sequence[str]) -> list[str]:
    """The rules that the misses name, of several raised together too; all, where one of them names none."""
    named = [one.rule if isinstance(one, Miss) else None for one in leaves(error)] if error is not None else []
    return [name for name in ids if name in named] if named and all(name in ids for name in named) else list(ids)


def judge(rules: Mapping[str, Rule], finished: Finished, again: str, known: Sequence[Known] = ()) -> CaseResult:
    """What one finished case says about each of its rules. `again` is the command that runs it once more."""
    judged = _judged(rules, finished, writable(again), known)
    return replace(judged, tally=dict(finished.tally), choices=dict(finished.choices), seconds=finished.seconds)


def _judged(rules: Mapping[str, Rule], finished: Finished, again: str, known: Sequence[Known]) -> CaseResult:

    def neutral(text: str) -> str:
        text = writable(text)
        return text.replace(finished.work, "$WORK") if finished.work else text

    case, ids = finished.case, finished.rules
    notes = {name: writable(text) for name, text in finished.notes.items()}
    scene = {name: neutral(text) for name, text in finished.scene.items()}
    if finished.outcome == "skipped":
        reason = writable(finished.text.removeprefix("Skipped: "))
        return CaseResult(case, dict.fromkeys(ids, Verdict.NOT_MEASURED), reason)
    if finished.outcome == "passed":
        return CaseResult(case, {name: of_pass(rules[name]) for name in ids}, notes=notes)
    missed = fault_of_the_target(finished.raised) if finished.phase == "call" else None
    if missed is None:
        line = writable(f"{type(finished.raised).__name__}: {finished.raised}".splitlines()[0])
        return CaseResult(case, dict.fromkeys(ids, Verdict.HARNESS_ERROR), line, writable(finished.text), notes, scene)
    blamed = blamed_rules(finished.raised, ids)
    weighed = {name: Verdict.FAIL if isinstance(missed, Misdeclared) else of_miss(rules[name]) for name in blamed}
    verdicts = {name: weighed.get(name, Verdict.NOT_MEASURED) for name in ids}
    line = neutral(str(missed).splitlines()[0] if str(missed) else "an assertion failed")
    found = failure.of(missed, blamed, again)
    found = replace(
        found,
        looked_at=neutral(found.looked_at),
        acceptable=neutral(found.acceptable),
        actual=neutral(found.actual),
        fault=neutral(found.fault),
    )
    judged = verdicts_with(known, verdicts, found)
    entries = [entry for entry in known if entry.rule in blamed and not found.misdeclared]
    detail = failure.text([rules[name] for name in blamed], case, found, _remarks(entries, found), scene)
    return CaseResult(case, judged, line, detail, notes, scene, failure=found)


def _remarks(entries: Iterable[Known], found: Failure) -> list[str]:
    """What the manifest says about failures of these rules."""
    entries = list(entries)
    if covering := [entry for entry in entries if entry.match in found.searched]:
        return [f"known:      {entry.words}" for entry in covering]
    return [f"not known:  {entry.rule} is a known deviation, but {entry.match!r} is not said here" for entry in entries]
