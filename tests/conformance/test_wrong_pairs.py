"""Proof that the suite can fail: pairs that are wrong on purpose fail the very rule they break, and say so."""

from __future__ import annotations

from pathlib import Path

import pytest
from judged import judge
from wrong import WRONG, Wrong, make

pytestmark = pytest.mark.usefixtures("root")


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.rule} {wrong.does}")
def test_a_wrong_pair_fails_the_rule_that_it_breaks(wrong: Wrong, tmp_path: Path) -> None:
    smap, smapd = make(wrong, tmp_path)
    named = [word for case in wrong.cases for word in ("--case", case)]
    judged = judge(tmp_path, "--smap", smap, "--smapd", smapd, "--only", wrong.rule, *named, *wrong.options)
    assert judged.status == 1, judged.text
    assert judged.verdicts[wrong.rule] == "FAIL", judged.text
    failing = [case for case in judged.cases if case["verdicts"].get(wrong.rule) == "FAIL"]
    for case in failing:
        assert f"MUST {wrong.rule}: " in case["detail"]
        assert "\nacceptable: " in case["detail"]
        assert "\nactual: " in case["detail"]
        assert "\nagain: " in case["detail"]
        assert f"smaplab run --smap {smap} --smapd {smapd} --case " in case["detail"]
    assert any(wrong.sees in case["detail"] for case in failing), judged.text
    assert wrong.rule in judged.text  # the terminal shows it too
