"""One session of the suite under pytest: which cases run, in which lab, and what their reports mean."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from smap_conformance import catalogue, machine, manifest, report, results, sandbox, target
from smap_conformance.command_line import again_line, same_target
from smap_conformance.expect import Miss, Overdue, writable
from smap_conformance.judging import SUITE, Finished, case_of, fault_of_the_target, judge, mode_of, rules_of
from smap_conformance.lab import Lab, Settings
from smap_conformance.sanity import deliver_one
from smap_conformance.users import user_for_targets
from smap_conformance.verdict import CaseResult, Verdict

RESULT, FIRST_SANITY, LAST_SANITY = "smap_result", "smap_first_sanity", "smap_last_sanity"
MEANS = "smap_means"
MODES = ("nowait", "wait")
LEVELS = {"must": {"MUST"}, "should": {"MUST", "SHOULD"}, "all": {"MUST", "SHOULD", "INFO"}}
FINISHED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
# Where the first delivery can fail so that nothing more can be learned of this smap.
NO_DIALOGUE = ("starting smap", "greeting", "waiting for smap", "sending to smap", "a line from smap")


def for_session(config: pytest.Config) -> Conductor:
    """The conductor that the options ask for. pytest.UsageError with one line when they make no sense."""
    worker = hasattr(config, "workerinput")
    scale = config.getoption("smap_timeout_scale")
    if scale is not None and not 0 < scale <= manifest.SCALE_MAX:
        raise pytest.UsageError(f"--smap-timeout-scale wants a number above 0, of {manifest.SCALE_MAX} at the most")
    isolate = not config.getoption("smap_no_isolation")
    try:
        catalogue.matching(catalogue.rules(), config.getoption("smap_only"))
        user = user_for_targets(config.getoption("smap_user"))
        chosen = _chosen(config)
        scale = scale or (chosen.timeout_scale if chosen else 1.0)
        if chosen is not None and chosen.manifest is not None:
            if not worker:
                manifest.build(chosen, scale)
            manifest.check_programs(chosen)
    except (LookupError, target.TargetError, catalogue.CatalogueError) as error:
        raise pytest.UsageError(str(error.args[0])) from None
    settings = Settings(chosen, user, scale, isolate)
    if not sandbox.may_divide(isolate) and (complaint := settings.out_of_reach()):
        raise pytest.UsageError(complaint)
    if not worker and getattr(config.option, "numprocesses", None) and isolate:
        sandbox.prepare_for_workers()
    return Conductor(config, settings, worker)


def _chosen(config: pytest.Config) -> target.Target | None:
    """The target that the options name; None for the reference."""
    smap, smapd = config.getoption("smap_program"), config.getoption("smapd_program")
    named = config.getoption("smap_target")
    if named and (smap or smapd):
        raise pytest.UsageError("--smap-target and --smap/--smapd exclude each other")
    if bool(smap) != bool(smapd):
        raise pytest.UsageError("--smap and --smapd go together: one without the other is no pair")
    if smap:
        return target.from_paths(smap, smapd)
    return None if named == target.REFERENCE else manifest.read(Path(named))


class Conductor:
    """Registered as a plugin for one session, or for one worker of pytest-xdist."""

    def __init__(self, config: pytest.Config, settings: Settings, worker: bool) -> None:
        self.config, self.settings, self.worker = config, settings, worker
        self.catalogue = catalogue.rules()
        self.results: list[CaseResult] = []
        self.first_sanity: list[str] = []
        self.harness_errors: list[str] = []
        self._means: dict[str, Any] = {}
        self._started = datetime.now(UTC)
        self._lab: Lab | None = None
        self._events = None
        if (descriptor := os.environ.get("SMAPLAB_EVENTS")) and not worker:
            self._events = os.fdopen(os.dup(int(descriptor)), "w", encoding="utf-8")

    # choosing

    def asked(self) -> list[str]:
        """The rules that the options ask for, in the catalogue's order."""
        only = catalogue.matching(self.catalogue, self.config.getoption("smap_only"))
        levels = LEVELS[self.config.getoption("smap_level")]
        return [
            name for name, rule in self.catalogue.items() if rule.level.value in levels and (not only or name in only)
        ]

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Leave files of the suite unread that hold none of the cases asked for by name."""
        named = {case.partition("::")[0] for case in self.config.getoption("smap_case")}
        of_the_suite = collection_path.parent == SUITE and collection_path.stem.startswith("test_")
        return True if named and of_the_suite and collection_path.stem.removeprefix("test_") not in named else None

    @pytest.hookimpl(wrapper=True)
    def pytest_pycollect_makeitem(self) -> Generator[None, Any, Any]:
        """Check every case's rules as it is found."""
        made = yield
        for item in made if isinstance(made, list) else [made]:
            if isinstance(item, pytest.Item) and (rules_of(item) or _of_the_suite(item)):
                rules = rules_of(item)
                if not rules:
                    raise pytest.Collector.CollectError(f"{item.name}: a case without @pytest.mark.rule(…)")
                if unknown := [rule for rule in rules if rule not in self.catalogue]:
                    raise pytest.Collector.CollectError(f"{item.name}: no rule {', '.join(unknown)} in the catalogue")
        return made

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file of cases that cannot be read; with pytest-xdist the session goes on without it."""
        if report.failed and not self.worker:
            lines = str(report.longrepr).strip().splitlines()
            self.harness_errors.append(f"{report.nodeid}: {lines[-1] if lines else 'no cases'}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Drop the cases that were not asked for, and put the sanity delivery first."""
        cases = [item for item in items if rules_of(item)]
        named = self.config.getoption("smap_case")
        asked = set(self.asked())
        chosen = [c for c in cases if asked.intersection(rules_of(c)) and (not named or case_of(c) in named)]
        modes = self.settings.target.modes if self.settings.target else MODES
        chosen = [case for case in chosen if mode_of(case) in (None, *modes)]
        if dropped := [case for case in cases if case not in chosen]:
            self.config.hook.pytest_deselected(items=dropped)
        items[:] = sorted(chosen, key=lambda case: not case.get_closest_marker("sanity"))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Say how many cases there are."""
        self._tell("cases", count=len(session.items))

    # the lab

    def lab(self) -> Lab:
        """The lab of this process, opened when first needed."""
        if self._lab is None:
            self._lab = Lab(self.settings)
        return self._lab

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Before the first case the sanity delivery; after a dead one nothing more is tried."""
        if not rules_of(item):
            return
        try:
            lab = self.lab()
        except target.TargetError as error:
            pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)
        lab.begin_case()
        if not lab.sandbox.means.chroot:  # smapd can still be judged as far as it needs no message
            return
        missed = lab.sanity(deliver_one)
        if missed is None:
            return
        if _cannot_tell(lab):
            pytest.skip(
                "no mail gets through, and without a mount namespace there is no table at its compiled-in path"
                f"{_tried(lab.target)}: {sandbox.ALLOW_NAMESPACES}"
            )
        if missed.what in NO_DIALOGUE and not item.get_closest_marker("sanity"):
            pytest.skip(f"no dialogue with this smap at all: {missed}")

    # verdicts

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Turn the outcome of a case into verdicts, which travel with the report."""
        report = yield
        rules = rules_of(item)
        if not rules or (report.when != "call" and report.passed):
            return report
        finished = Finished(
            case=case_of(item),
            rules=tuple(rules),
            phase=str(report.when),
            outcome=report.outcome,
            raised=call.excinfo.value if call.excinfo else None,
            text=str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr),
            notes=getattr(item, "smap_notes", {}),
            choices=getattr(item, "smap_choices", {}),
            seconds=report.duration,
            tally=getattr(item, "smap_tally", {}),
            scene=self._lab.scene() if self._lab and report.failed else {},
            work=str(self._lab.sandbox.work) if self._lab else "",
        )
        if self._lab is not None and isinstance(fault_of_the_target(finished.raised), Overdue):
            self._lab.patience.overdue += 1
        known = self.settings.target.known if self.settings.target else ()
        result = judge(self.catalogue, finished, again_line(self.config, finished.case), known)
        heaviest = result.heaviest
        if report.failed and heaviest is not Verdict.HARNESS_ERROR:
            report.longrepr = result.detail
            if heaviest is not Verdict.FAIL:
                report.outcome = "passed"  # a SHOULD that was missed, or a known deviation: reported, no failure
        report.user_properties.append((RESULT, json.dumps(result.as_json())))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the verdicts, from the workers too."""
        result = _result_of(report)
        if result is not None and not self.worker:
            self.results.append(result)
            self._tell("case", case=result.case, letter=result.heaviest.letter)

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """A missed SHOULD and a known deviation have letters of their own in pytest's line."""
        result = _result_of(report) if report.when == "call" and report.passed else None
        if result is None or result.heaviest not in (Verdict.SHOULD_MISSED, Verdict.KNOWN):
            return None
        return result.heaviest.value, result.heaviest.letter, result.heaviest.value.upper()

    def _tell(self, kind: str, **fields: Any) -> None:
        if self._events is not None:
            self._events.write(json.dumps({"kind": kind, **fields}) + "\n")
            self._events.flush()

    # the end

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """The last sanity delivery, and the end of the lab."""
        first: Miss | None = None
        last: Miss | None = None
        if self._lab is not None:
            try:
                self._means = machine.means(self._lab.sandbox.means)
                first = None if _cannot_tell(self._lab) else self._lab.sanity_miss
                if self._lab.sanity_done and self._lab.sanity_miss is None and not session.shouldstop:
                    last = self._lab.try_delivery(deliver_one)
            finally:
                self._lab.close()
                self._lab = None
        if self.worker:
            self.config.workeroutput |= {  # type: ignore[attr-defined]
                FIRST_SANITY: str(first or ""),
                LAST_SANITY: str(last or ""),
                MEANS: self._means,
            }
            return
        self._hear(str(first or ""), str(last or ""))
        if session.exitstatus in FINISHED:  # pytest's own status says the same as `smaplab run`
            status = self.run().conclusion(self.catalogue).status
            session.exitstatus = max(status, int(session.exitstatus == pytest.ExitCode.TESTS_FAILED))

    def _hear(self, first: str, last: str) -> None:
        self.first_sanity += [first] if first else []
        self.harness_errors += [f"the last sanity delivery failed: {last}"] if last else []

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """A worker of pytest-xdist has ended: hear its sanity deliveries."""
        output = getattr(node, "workeroutput", None)
        if output is None:
            self.harness_errors.append(f"a worker died: {error}")
        else:
            self._means = output.get(MEANS) or self._means
            self._hear(output.get(FIRST_SANITY, ""), output.get(LAST_SANITY, ""))

    def run(self) -> results.Run:
        """Everything that is known of this session."""
        chosen = self.settings.target
        about = results.About(
            version=chosen.version if chosen else "",
            language=chosen.language if chosen else "Python",
            level=self.config.getoption("smap_level"),
            only=self.config.getoption("smap_only"),
            options=tuple(map(writable, same_target(self.config).as_run_options())),
            declared=chosen.declared.as_json() if chosen else {},
            environment=machine.environment(self.settings, self._means, getattr(self.config.option, "tx", None)),
            started=self._started.isoformat(timespec="seconds"),
            seconds=round((datetime.now(UTC) - self._started).total_seconds(), 3),
        )
        return results.Run(
            target=chosen.name if chosen else target.REFERENCE,
            cases=tuple(self.results),
            first_sanity=tuple(self.first_sanity),
            harness_errors=tuple(self.harness_errors),
            asked=tuple(self.asked()) if not self.config.getoption("smap_case") else (),
            known=chosen.known if chosen else (),
            about=about,
        )

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
        """The plain table, the last line, and results.json (unless the session came to no end)."""
        if self.worker or exitstatus not in FINISHED:
            return
        run = self.run()
        terminalreporter.section("smap conformance")
        for line in results.plain_table(run, self.catalogue):
            terminalreporter.write_line(line)
        terminalreporter.write_line(run.conclusion(self.catalogue).line)
        if directory := self.config.getoption("smap_report"):
            report.write(run, self.catalogue, Path(directory))

    def pytest_unconfigure(self) -> None:
        """An interrupted session leaves nothing behind either."""
        if self._lab is not None:
            self._lab.close()
            self._lab = None
        if self._events is not None:
            self._events.close()


def _cannot_tell(lab: Lab) -> bool:
    """Whether no mail gets through for want of a table, perhaps."""
    told = lab.target.says_where_the_table_is() or lab.sandbox.means.compiled_in_table
    return lab.sanity_miss is not None and not told


def _tried(chosen: target.Target) -> str:
    variable = chosen.netperm_environment
    return f" ({variable} in the environment was tried and did not help)" if variable else ""


def _of_the_suite(item: pytest.Item) -> bool:
    return SUITE in item.path.parents


def _result_of(report: pytest.TestReport) -> CaseResult | None:
    for name, value in getattr(report, "user_properties", ()):
        if name == RESULT:
            return CaseResult.from_json(json.loads(str(value)))
    return None
