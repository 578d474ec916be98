"""A second implementation, written in C from the rules alone: it passes, so the suite judges behaviour and no program's
private choices; and pairs made wrong from it fail the rule that they break, and no other.

By default on a broad choice of fast rules. With SMAPLAB_WHOLE in the environment (`tox -e c`) on every rule there is.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from judged import Judged, judge

SOURCES = Path(__file__).parents[1] / "targets" / "c"
WRONG = sorted(path.name for path in SOURCES.glob("wrong-*.toml"))
WHOLE = bool(os.environ.get("SMAPLAB_WHOLE"))
# From every chapter what costs little; CRASH is left to the wrong pair and to the whole suite.
BROAD = (
    "CFG-05,PRIV-02,PRIV-03,PRIV-04,PRIV-07,SMTP-01,SMTP-07,SMTP-11,GATHER-03,GATHER-06,LIMIT-01,SCAN-06,MAILER-10,"
    "BAD-02,FAULT-05,SLOW-01,OPS-02"
)
LOCKS = "GATHER-04,GATHER-06,SCAN-03"  # where the two kinds of lock part
BESIDE = "SMTP-01,SCAN-06,MAILER-10"  # what a wrong pair does right
# A rule whose cases take long, and one of them that is enough to see it broken.
SHOWN_BY = {"CRASH-02": "crash_power::test_whatever_a_power_cut_leaves_of[two messages in one session]"}

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources and manifests, in which the manifests' build commands may write."""
    return shutil.copytree(
        SOURCES, tmp_path_factory.mktemp("targets") / "c", ignore=shutil.ignore_patterns("build", "smap", "smapd")
    )


@pytest.fixture
def judged(sources: Path, tmp_path: Path, needs: Callable[..., str]) -> Callable[..., Judged]:
    """The suite on the target of that manifest: with these options, or all of it."""
    needs("cc", package="gcc libc6-dev")
    needs("make", package="make")

    def run(manifest: str, *options: str) -> Judged:
        return judge(tmp_path, "--target", sources / manifest, *(("-n", "auto") if WHOLE else options))

    return run


def rules_broken(manifest: str) -> tuple[str, list[str]]:
    """The rule that a wrong pair must fail, and those that say the same of it in other words, as its manifest tells."""
    text = (SOURCES / manifest).read_text(encoding="utf-8")
    (rule,) = re.findall(r"^# Wrong on purpose, to be found by ([A-Z]+-\d\d):", text, re.MULTILINE)
    also = re.findall(r"^# And by (.*)", text, re.MULTILINE)
    return rule, re.findall(r"[A-Z]+-\d\d", "".join(also))


def failed(judged: Judged) -> set[str]:
    """The MUST rules that failed."""
    return {rule for rule, verdict in judged.verdicts.items() if verdict == "FAIL"}


@pytest.mark.parametrize(("manifest", "rules"), [("target.toml", BROAD), ("fcntl.toml", LOCKS)])
def test_the_pair_in_c_is_conformant(judged: Callable[..., Judged], manifest: str, rules: str) -> None:
    found = judged(manifest, "--only", rules)
    assert found.status == 0, found.text
    wanted = found.verdicts if WHOLE else rules.split(",")
    unlike = {rule: found.verdicts.get(rule) for rule in wanted if found.verdicts.get(rule) not in ("pass", "info")}
    assert not unlike, found.text


@pytest.mark.parametrize("manifest", WRONG)
def test_a_wrong_pair_fails_its_rule_and_no_other(judged: Callable[..., Judged], manifest: str) -> None:
    rule, also = rules_broken(manifest)
    case = SHOWN_BY.get(rule)
    found = judged(manifest, *(("--case", case) if case else ("--only", f"{rule},{BESIDE}")))
    assert found.status == 1, found.text
    assert rule in failed(found), found.text
    assert failed(found) <= {rule, *also}, found.text


def test_the_wrong_pairs_are_wrong_in_different_chapters() -> None:
    chapters = [rules_broken(manifest)[0].partition("-")[0] for manifest in WRONG]
    assert len(chapters) >= 3
    assert len(set(chapters)) == len(chapters), chapters
