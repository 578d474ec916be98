"""The trial of a mutant: the suite, as a user runs it, against the broken pair. Is each rule found broken, and how?

Each mutant has a `smaplab run` of its own, in a process of its own. What is judged is what that run wrote down: no
other way into the suite is used than the one that every target takes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from smap_conformance import catalogue, results
from smap_conformance.catalogue import Level
from smap_conformance.mutants.mutant import Mutant, make
from smap_conformance.mutants.sample import SAMPLE
from smap_conformance.running import die_with
from smap_conformance.target import Target, TargetError
from smap_conformance.verdict import CaseResult, Verdict

BROKEN = (Verdict.FAIL, Verdict.SHOULD_MISSED)
RUN_S_MAX = 900.0  # a run that takes longer has hung
SAMPLE_SCALE = 0.5  # most of what a broken pair does not do would be waited for in vain


@dataclass(frozen=True, slots=True)
class Kill:
    """One rule that the mutant was to break: the case that found it broken and its line, or why none did."""

    rule: str
    case: str = ""
    line: str = ""
    complaint: str = ""

    @property
    def is_one(self) -> bool:
        """Whether the mutant is killed by this rule."""
        return not self.complaint


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of a mutant. `unrelated` are MUST rules that failed as well and that nobody declared."""

    mutant: Mutant
    kills: tuple[Kill, ...]
    seconds: float
    unrelated: tuple[tuple[str, str], ...] | None = None  # rule, line; None: not looked for
    consequences: tuple[str, ...] = ()  # declared rules that failed as well

    @property
    def killed(self) -> bool:
        """By each of the rules that it breaks."""
        return all(kill.is_one for kill in self.kills)

    @property
    def precise(self) -> bool:
        """Whether no unrelated rule failed, as far as was looked."""
        return not self.unrelated


def hold(mutant: Mutant, *, precision: bool = False, compiled: Path | None = None) -> Trial:
    """Try a mutant. `precision`: also run a sample of the suite, and see which unrelated rules fail.

    `compiled` is a directory where many trials keep the suite as compiled, or each would compile it again.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="smaplab-mutant-") as directory:
        work = Path(directory)
        pair = work / mutant.name
        pair.mkdir()
        try:
            broken = make(mutant, pair)
        except TargetError as error:  # what cannot even be installed is found by nobody's rule
            kills = tuple(Kill(rule, complaint=str(error)) for rule in mutant.breaks)
            return Trial(mutant, kills, time.monotonic() - started)
        chosen = [f"--case={case}" for case in mutant.cases] or [f"--only={','.join(mutant.breaks)}"]
        found = _run(broken, [*chosen, f"--timeout-scale={mutant.scale:g}"], work / "named", compiled)
        kills = tuple(_kill(rule, words, found) for rule, words in mutant.breaks.items())
        seconds = time.monotonic() - started
        if not precision:
            return Trial(mutant, kills, seconds)
        sample = [f"--case={case}" for case in SAMPLE]
        wide = _run(broken, [*sample, f"--timeout-scale={SAMPLE_SCALE:g}"], work / "sample", compiled)
    failed = {} if isinstance(wide, str) else _broken_must_rules(wide)
    unrelated = tuple((rule, line) for rule, line in failed.items() if rule not in {*mutant.breaks, *mutant.also})
    if isinstance(wide, str):
        unrelated = (("-", wide),)
    return Trial(mutant, kills, seconds, unrelated, tuple(rule for rule in mutant.also if rule in failed))


def _run(pair: Target, options: Sequence[str], report: Path, compiled: Path | None) -> results.Run | str:
    """`smaplab run` against the pair: what it wrote down, or why it wrote nothing."""
    line = [sys.executable, "-m", "smap_conformance", "run", "--smap", *pair.smap, "--smapd", *pair.smapd]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"COLUMNS": "200", "PYTHONPYCACHEPREFIX": str(compiled or report.parent / "compiled")}
    process = subprocess.Popen(
        [*line, *options, "--report", str(report)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=report.parent,
        env=environment,
        text=True,
        errors="backslashreplace",
        process_group=0,  # it hears of an interrupt once, from `_end`
        preexec_fn=die_with(os.getpid()),  # noqa: PLW1509 - a process of the pool has one thread
    )
    try:
        said, _ = process.communicate(timeout=RUN_S_MAX)
    except subprocess.TimeoutExpired:
        _end(process)
        return f"the run came to no end within {RUN_S_MAX:g} s"
    except KeyboardInterrupt:
        _end(process)
        raise
    if not (report / "results.json").is_file():
        told = [text for text in said.splitlines() if text.strip()] or ["nothing"]
        return f"no results (exit status {process.returncode}): {told[-1].strip()}"
    return results.read(report)


def _end(process: subprocess.Popen[str]) -> None:
    """Let the run tidy up, however often we are told to stop meanwhile: a `Crew` tells it every second."""
    process.terminate()
    while process.poll() is None:
        with contextlib.suppress(KeyboardInterrupt):
            process.communicate()


def _kill(rule: str, words: str, found: results.Run | str) -> Kill:
    """What the run says about a rule that is broken."""
    if isinstance(found, str):
        return Kill(rule, complaint=found)
    judged = [case for case in found.cases if rule in case.verdicts]
    failed = [case for case in judged if case.verdicts[rule] in BROKEN]
    for case in failed:
        if words in case.line:
            return Kill(rule, case.case, case.line)
    if failed:
        return Kill(rule, complaint=f"found broken, but for another reason than {words!r}: {failed[0].line}")
    if not judged:
        return Kill(rule, complaint="the suite has no such case")
    return Kill(rule, complaint=f"lives: {_worst(judged, rule)}")


def _worst(judged: Sequence[CaseResult], rule: str) -> str:
    case = max(judged, key=lambda case: case.verdicts[rule].weight)
    told = f": {case.line}" if case.line else ""
    return f"{case.case}: {case.verdicts[rule].value}{told}"


def _broken_must_rules(found: results.Run) -> dict[str, str]:
    """MUST rules that the sample found broken, or the harness stumbled over, each with a line."""
    bad = {Verdict.FAIL, Verdict.HARNESS_ERROR}
    rolled = found.rules(catalogue.rules())
    return {each.rule.id: each.line for each in rolled if each.rule.level is Level.MUST and each.verdict in bad}
