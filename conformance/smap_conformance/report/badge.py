"""badge.json: one line with a colour, in the form that the endpoint badges of shields.io read."""

from __future__ import annotations

import json
from collections.abc import Mapping

from smap_conformance.catalogue import Rule
from smap_conformance.results import Run
from smap_conformance.verdict import Verdict, counted

LABEL = "smap conformance"
MESSAGE_MAX = 60


def text(run: Run, rules: Mapping[str, Rule]) -> str:
    """The file's content."""
    message, colour = _message(run, rules)
    plain = {"schemaVersion": 1, "label": LABEL, "message": message, "color": colour}
    return json.dumps(plain, indent=1) + "\n"


def _message(run: Run, rules: Mapping[str, Rule]) -> tuple[str, str]:
    conclusion = run.conclusion(rules)
    if conclusion.status == 3:
        return ("nothing measured" if conclusion.line.startswith("nothing") else "harness error"), "lightgrey"
    broken = sum(rule.verdict is Verdict.FAIL for rule in run.rules(rules))
    if broken:
        return f"{counted(broken)} broken", "red"
    if conclusion.status:
        return conclusion.line.removeprefix("not conformant: ").partition(":")[0][:MESSAGE_MAX], "red"
    if deviating := run.deviating(rules):
        return counted(len(deviating), "known deviation"), "yellow"
    message = conclusion.line.partition(";")[0][:MESSAGE_MAX]
    return message, "brightgreen" if message == "conformant" else "green"
