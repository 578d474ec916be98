"""junit.xml: the cases as continuous integration wants them; a suite for each file of cases.

What is known, missed of level SHOULD or not measured is no failure there: it is skipped, with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree

from smap_conformance.catalogue import Rule
from smap_conformance.results import Run
from smap_conformance.verdict import CaseResult, Verdict

# XML 1.0 has no place for these, escaped or not.
NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text(run: Run, rules: Mapping[str, Rule]) -> str:
    """The file's content."""
    by_file: dict[str, list[CaseResult]] = {}
    for case in sorted(run.cases, key=lambda case: case.case):
        by_file.setdefault(case.case.partition("::")[0], []).append(case)
    root = ElementTree.Element("testsuites", name=_clean(f"smap conformance of {run.target}"))
    properties = ElementTree.SubElement(root, "properties")
    for name, value in (("conclusion", run.conclusion(rules).line), *_counts(run)):
        ElementTree.SubElement(properties, "property", name=name, value=_clean(value))
    suites = [_suite(root, name, cases) for name, cases in by_file.items()]
    if wrong := [*run.harness_errors, *_at_the_end(run)]:
        suite = ElementTree.SubElement(root, "testsuite", name="run", tests="1", failures="0", errors="1", skipped="0")
        element = ElementTree.SubElement(suite, "testcase", classname="run", name="the run as a whole")
        ElementTree.SubElement(element, "error", message=_clean(wrong[0])).text = _clean("\n".join(wrong))
        suites.append(suite)
    for count in ("tests", "failures", "errors", "skipped"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in suites)))
    ElementTree.indent(root, " ")
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _at_the_end(run: Run) -> list[str]:
    """What fails the run and belongs to no case."""
    passing = [entry.rule for entry, standing in run.standings() if standing.value == "unexpected pass"]
    return [f"unexpected pass of a known deviation: {rule}" for rule in passing]


def _counts(run: Run) -> list[tuple[str, str]]:
    return [(name, str(count)) for name, count in run.tally().items()]


def _suite(root: ElementTree.Element, name: str, cases: list[CaseResult]) -> ElementTree.Element:
    heaviest = [case.heaviest for case in cases]
    failures, errors = heaviest.count(Verdict.FAIL), heaviest.count(Verdict.HARNESS_ERROR)
    kept = heaviest.count(Verdict.PASS) + heaviest.count(Verdict.INFO)
    suite = ElementTree.SubElement(root, "testsuite", name=_clean(name), tests=str(len(cases)), failures=str(failures))
    suite.attrib |= {"errors": str(errors), "skipped": str(len(cases) - failures - errors - kept)}
    suite.set("time", f"{sum(case.seconds for case in cases):.3f}")
    for case in cases:
        _case(suite, case)
    return suite


def _case(suite: ElementTree.Element, case: CaseResult) -> None:
    file, _, name = _clean(case.case).partition("::")
    element = ElementTree.SubElement(suite, "testcase", classname=file, name=name, time=f"{case.seconds:.3f}")
    properties = ElementTree.SubElement(element, "properties")
    for rule, verdict in case.verdicts.items():
        ElementTree.SubElement(properties, "property", name=rule, value=verdict.value)
    kind = {Verdict.FAIL: "failure", Verdict.HARNESS_ERROR: "error", Verdict.PASS: "", Verdict.INFO: ""}
    if tag := kind.get(case.heaviest, "skipped"):
        found = ElementTree.SubElement(element, tag, message=_clean(f"{case.heaviest.value}: {case.line}"))
        found.text = _clean(case.detail) or None


def _clean(text: str) -> str:
    return NO_XML.sub(lambda found: f"\\x{ord(found.group()):02x}", text)
