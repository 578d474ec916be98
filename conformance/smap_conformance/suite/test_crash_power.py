"""CRASH: power cuts. Real runs are recorded and cut at every point under every model; the real smapd comes up again."""

from __future__ import annotations

from collections import Counter

import pytest

from smap_conformance.lab import Lab
from smap_conformance.powercut import Survey
from smap_conformance.suite.cut import SCENES, Scene, Trial, recorded
from smap_conformance.suite.talk import rows

RULES = ("CRASH-01", "CRASH-02", "CRASH-04", "CRASH-05", "BAD-04", "SCAN-02", "CRASH-03", "CRASH-07")


@pytest.mark.rule(*RULES)
@pytest.mark.parametrize("scene", rows(SCENES))
def test_whatever_a_power_cut_leaves_of(lab: Lab, tally: Counter[str], scene: Scene) -> None:
    trial = Trial(lab, Survey(recorded(lab, scene)), tally)
    trial.recover()
    trial.judge(RULES)
