"""The pytest plugin: options, the lab and its places, cases and their rules, verdicts, the sanity delivery.

It does nothing at all unless `--smap-target`, or `--smap` and `--smapd`, is given, so that its being installed changes
nobody's test run. Every case carries `@pytest.mark.rule("GATHER-03", …)`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from smap_conformance import catalogue, results, sandbox, target
from smap_conformance.expect import Miss
from smap_conformance.lab import Lab, Settings
from smap_conformance.place import Place
from smap_conformance.sanity import deliver_one
from smap_conformance.verdict import CaseResult, Verdict, of_miss, of_pass

RESULT = "smap_result"
SANITY_LAST = "smap_sanity_last"
LEVELS = {"must": {"MUST"}, "should": {"MUST", "SHOULD"}, "all": {"MUST", "SHOULD", "INFO"}}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("smap", "smap and smapd conformance")
    group.addoption("--smap-target", metavar="TARGET", help="judge this target: `reference`")
    group.addoption("--smap", dest="smap_program", metavar="PATH", help="judge this smap (with --smapd)")
    group.addoption("--smapd", dest="smapd_program", metavar="PATH", help="judge this smapd (with --smap)")
    group.addoption("--smap-level", choices=list(LEVELS), default="all", help="run cases of these levels (all)")
    group.addoption("--smap-only", metavar="RULES", default="", help="run cases of these rules or chapters only")
    group.addoption("--smap-user", metavar="NAME", help="as root: the unprivileged user of the programs (nobody)")
    group.addoption("--smap-report", metavar="DIR", help="write results.json and the artefacts of failures here")
    group.addoption("--smap-timeout-scale", metavar="X", type=float, default=1.0, help="multiply every bound by X")
    group.addoption("--smap-no-isolation", action="store_true", help="use no namespaces even where they work")


def _wanted(config: pytest.Config) -> bool:
    return any(config.getoption(name) for name in ("smap_target", "smap_program", "smapd_program"))


def settings_of(config: pytest.Config) -> Settings:
    """The options as settings; pytest.UsageError with one line when they make no sense."""
    smap, smapd = config.getoption("smap_program"), config.getoption("smapd_program")
    named = config.getoption("smap_target")
    if named and (smap or smapd):
        raise pytest.UsageError("--smap-target and --smap/--smapd exclude each other")
    if bool(smap) != bool(smapd):
        raise pytest.UsageError("--smap and --smapd go together: one without the other is no pair")
    if config.getoption("smap_timeout_scale") <= 0:
        raise pytest.UsageError("--smap-timeout-scale wants a number above 0")
    try:
        user = sandbox.user_for_targets(config.getoption("smap_user"))
        if named and named != target.REFERENCE:
            raise target.TargetError(f"--smap-target {named}: only `reference` is known; use --smap and --smapd")
        chosen = target.from_paths(smap, smapd) if smap else None
    except (LookupError, target.TargetError) as error:
        raise pytest.UsageError(str(error.args[0])) from None
    return Settings(chosen, user, config.getoption("smap_timeout_scale"), not config.getoption("smap_no_isolation"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "rule(id, …): the rules of the catalogue that a case of the suite judges")
    config.addinivalue_line("markers", "sanity: the delivery that shows that the plug fits")
    if not _wanted(config):
        return
    settings = settings_of(config)
    worker = hasattr(config, "workerinput")
    if not worker and getattr(config.option, "numprocesses", None) and settings.isolate:
        sandbox.prepare_for_workers()
    config.pluginmanager.register(Conductor(config, settings, worker), "smap-conductor")


class Conductor:
    """One session: chooses the cases, opens the lab, turns reports into verdicts."""

    def __init__(self, config: pytest.Config, settings: Settings, worker: bool) -> None:
        self.config, self.settings, self.worker = config, settings, worker
        self.catalogue = catalogue.rules()
        self.results: list[CaseResult] = []
        self.last_sanity: list[str] = []
        self._lab: Lab | None = None
        events = os.environ.get("SMAPLAB_EVENTS")
        self._events = open(int(events), "w", encoding="utf-8", closefd=False) if events and not worker else None  # noqa: SIM115, PTH123

    @property
    def conducts_only(self) -> bool:
        """Whether workers run the cases, and we just listen."""
        return bool(getattr(self.config.option, "numprocesses", None)) and not self.worker

    # choosing

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Check every case's rules, drop those that were not asked for, and put the sanity delivery first."""
        cases = [item for item in items if item.get_closest_marker("rule") or _of_the_suite(item)]
        for case in cases:
            rules = rules_of(case)
            if not rules:
                raise pytest.UsageError(f"{case.nodeid}: a case without @pytest.mark.rule(…)")
            if unknown := [rule for rule in rules if rule not in self.catalogue]:
                raise pytest.UsageError(f"{case.nodeid}: no rule {', '.join(unknown)} in the catalogue")
        try:
            only = catalogue.matching(self.catalogue, self.config.getoption("smap_only"))
        except catalogue.CatalogueError as error:
            raise pytest.UsageError(f"--smap-only: {error}") from None
        levels = LEVELS[self.config.getoption("smap_level")]

        def asked_for(case: pytest.Item) -> bool:
            rules = rules_of(case)
            return any(self.catalogue[rule].level.value in levels and (not only or rule in only) for rule in rules)

        chosen = [case for case in cases if asked_for(case)]
        dropped = [case for case in cases if case not in chosen]
        if dropped:
            self.config.hook.pytest_deselected(items=dropped)
        items[:] = sorted(chosen, key=lambda case: not case.get_closest_marker("sanity"))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._tell("cases", count=len(session.items))

    # the lab

    def lab(self) -> Lab:
        """The lab of this process, opened when first needed."""
        if self._lab is None:
            self._lab = Lab(self.settings)
        return self._lab

    @pytest.fixture(scope="session")
    def lab_of_session(self) -> Iterator[Lab]:
        yield self.lab()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if not rules_of(item):
            return
        try:
            lab = self.lab()
        except target.TargetError as error:
            pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)
        lab.begin_case()
        if not lab.sandbox.means.chroot:
            pytest.skip(f"smap cannot change its root here: {'; '.join(lab.sandbox.means.reasons)}")
        if item.get_closest_marker("sanity") is None and (missed := lab.sanity(deliver_one)) is not None:
            self._stop_if_dead(missed)

    def _stop_if_dead(self, missed: Miss) -> None:
        if missed.what in ("greeting", "waiting for smap", "a line from smap"):
            pytest.skip(f"no dialogue with this smap at all: {missed}")

    # verdicts

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
        outcome = yield
        report: pytest.TestReport = outcome.get_result()
        rules = rules_of(item)
        if not rules or (report.when != "call" and report.passed):
            return
        scene = self._lab.scene() if self._lab and report.failed else {}
        notes = dict(getattr(item, "smap_notes", {}))
        result = judge(self.catalogue, case_of(item), rules, report, call.excinfo, notes, scene)
        if report.failed and Verdict.FAIL not in result.verdicts.values():
            if Verdict.HARNESS_ERROR not in result.verdicts.values():
                report.outcome = "passed"  # a SHOULD that was missed: reported, still conformant
        if report.failed and Verdict.HARNESS_ERROR not in result.verdicts.values():
            report.longrepr = result.detail
        report.user_properties.append((RESULT, json.dumps(result.as_json())))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == RESULT and not self.worker:
                result = CaseResult.from_json(json.loads(str(value)))
                self.results.append(result)
                self._tell("case", **{"case": result.case, "letter": heaviest(result).letter})

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        for name, value in getattr(report, "user_properties", ()):
            if name == RESULT and report.when == "call" and report.passed:
                verdict = heaviest(CaseResult.from_json(json.loads(str(value))))
                if verdict is Verdict.SHOULD_MISSED:
                    return verdict.value, verdict.letter, verdict.value.upper()
        return None

    def _tell(self, kind: str, **fields: Any) -> None:
        if self._events is not None:
            self._events.write(json.dumps({"kind": kind, **fields}) + "\n")
            self._events.flush()

    # the end

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """The last sanity delivery, and the end of the lab."""
        last = ""
        if self._lab is not None:
            try:
                if self._lab.sanity_done and self._lab.sanity_miss is None and not session.shouldstop:
                    last = str(self._lab.try_delivery(deliver_one) or "")
            finally:
                self._lab.close()
                self._lab = None
        if self.worker:
            self.config.workeroutput[SANITY_LAST] = last  # type: ignore[attr-defined]
        elif last:
            self.last_sanity.append(last)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """A worker of pytest-xdist has ended: hear its last sanity delivery."""
        output = getattr(node, "workeroutput", None)
        if output is None:
            self.last_sanity.append(f"a worker died: {error}")
        elif output.get(SANITY_LAST):
            self.last_sanity.append(output[SANITY_LAST])

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.worker:
            return
        run = results.Run(self._name(), tuple(self.results), tuple(self.last_sanity))
        conclusion = run.conclusion(self.catalogue)
        terminalreporter.section("smap conformance")
        for line in results.plain_table(run, self.catalogue):
            terminalreporter.write_line(line)
        terminalreporter.write_line(conclusion.line)
        if directory := self.config.getoption("smap_report"):
            results.write(run, self.catalogue, Path(directory))

    def _name(self) -> str:
        return self.settings.target.name if self.settings.target else target.REFERENCE

    def pytest_unconfigure(self) -> None:
        if self._lab is not None:  # an interrupted session
            self._lab.close()
            self._lab = None


def _of_the_suite(item: pytest.Item) -> bool:
    return Path(__file__).with_name("suite") in item.path.parents


def rules_of(item: pytest.Item) -> list[str]:
    """The rule ids of a case, in the order of its marks."""
    return list(dict.fromkeys(rule for mark in item.iter_markers("rule") for rule in mark.args))


def case_of(item: pytest.Item) -> str:
    """A case's own name: file, function and parameters, the same from a clone and from a wheel."""
    return f"{item.path.stem.removeprefix('test_')}::{item.name}"


def heaviest(result: CaseResult) -> Verdict:
    """The heaviest of a case's verdicts."""
    return max(result.verdicts.values(), key=lambda verdict: verdict.weight)


def judge(
    rules: dict[str, catalogue.Rule],
    case: str,
    ids: list[str],
    report: pytest.TestReport,
    raised: pytest.ExceptionInfo[BaseException] | None,
    notes: dict[str, str],
    scene: dict[str, str],
) -> CaseResult:
    """What one finished case says about each of its rules."""
    if report.skipped:
        reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
        return CaseResult(case, dict.fromkeys(ids, Verdict.NOT_MEASURED), reason.removeprefix("Skipped: "))
    if report.passed:
        return CaseResult(case, {name: of_pass(rules[name]) for name in ids}, notes=notes)
    error = raised.value if raised is not None else None
    if not isinstance(error, AssertionError) or report.when != "call":
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        return CaseResult(case, dict.fromkeys(ids, Verdict.HARNESS_ERROR), line, str(report.longrepr), notes, scene)
    blamed = [error.rule] if isinstance(error, Miss) and error.rule in ids else ids
    verdicts = {name: of_miss(rules[name]) if name in blamed else Verdict.NOT_MEASURED for name in ids}
    line = str(error).splitlines()[0] if str(error) else "an assertion failed"
    return CaseResult(case, verdicts, line, results.failure_text(rules, case, blamed, error, scene), notes, scene)


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Lab:
    """The lab of this process: `with lab.place(…) as place:` for cases that need several, or a special one."""
    conductor = request.config.pluginmanager.get_plugin("smap-conductor")
    if conductor is None:
        pytest.skip("a case of the conformance suite: give --smap-target, or --smap and --smapd")
    assert isinstance(conductor, Conductor)
    return conductor.lab()


@pytest.fixture
def place(lab: Lab) -> Iterator[Place]:
    """A place of its own for the case, as `lab.place()` makes it."""
    with lab.place() as opened:
        yield opened


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Any:
    """Record what this target does where a rule leaves it open: `note("CFG-09", "ignored")`."""
    notes: dict[str, str] = {}
    request.node.smap_notes = notes

    def write(rule: str, value: str) -> None:
        notes[rule] = value

    return write
