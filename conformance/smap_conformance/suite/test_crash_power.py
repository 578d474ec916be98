"""CRASH: power cuts. Real runs are recorded and cut at every point under every model; the real smapd comes up again."""

from __future__ import annotations

from collections import Counter

import pytest

from smap_conformance.judging import rules_of
from smap_conformance.lab import Lab
from smap_conformance.powercut import Survey
from smap_conformance.suite.cut import SCENES, Scene, Trial, beginnings, recorded, recovery_recorded
from smap_conformance.suite.talk import rows


@pytest.mark.rule("CRASH-01", "CRASH-02", "CRASH-04", "CRASH-05", "BAD-04", "SCAN-02", "CRASH-03", "CRASH-07")
@pytest.mark.parametrize("scene", rows(SCENES))
def test_whatever_a_power_cut_leaves_of(
    lab: Lab, tally: Counter[str], request: pytest.FixtureRequest, scene: Scene
) -> None:
    for history in recorded(lab, scene):
        trial = Trial(lab, Survey(history), tally)
        trial.recover()
        trial.judge(rules_of(request.node))


@pytest.mark.rule("CRASH-06", "CRASH-03", "CRASH-07")
@pytest.mark.parametrize("name", ["a delivery", "a move to baddir"])
def test_a_power_cut_in_the_recovery_from_one(
    lab: Lab, tally: Counter[str], request: pytest.FixtureRequest, name: str
) -> None:
    """smapd is recorded while it recovers from a crash state, and that recording is cut at every point as well."""
    scene = SCENES[name]
    first = Survey(recorded(lab, scene)[0])
    for state in beginnings(first):
        second = Survey(recovery_recorded(lab, first, state, scene), (first.past(state.crash),))
        trial = Trial(lab, second, tally)
        trial.recover()
        trial.judge(rules_of(request.node))
