"""A history that somebody saved, cut in every way with no program at hand."""

from dataclasses import replace

import pytest
from history_script import content, script
from smap_simulator import campaign
from smap_simulator.crash import Crashes
from smap_simulator.history import History, Message
from smap_simulator.inquest import NO_MAILER, NO_PROMISE, NOBODY_RECOVERS, Inquest, untold
from smap_simulator.models import MODELS

RIGHT = "creat m; write m 9000; fsync m; chmod m; fsync m; fsync spool; reply one"


def told(calls: str, *, promised_bytes: int = 9000) -> History:
    message = Message("one", "s@a.example", ("r@b.example",), content(1, promised_bytes))
    return replace(script(calls), messages=(message,), title="by hand")


def broken(calls: str, model: str) -> set[tuple[str, str]]:
    return {(finding.word, finding.rule) for finding in Inquest(told(calls), model).carry_out().findings}


@pytest.mark.parametrize("model", MODELS)
def test_what_is_done_rightly_breaks_nothing(model: str) -> None:
    result = Inquest(told(RIGHT), model).carry_out()
    assert result.findings == []
    assert result.counts["cuts"] == len(Crashes(told(RIGHT), model).cuts())
    assert 2 <= result.counts["distinct states"] <= result.counts["states"]


@pytest.mark.parametrize(
    ("left_out", "model", "found"),
    [
        ("fsync spool; ", "strict-posix", {("LOST", "CRASH-03")}),
        ("fsync spool; ", "ext4-ordered", set()),
        ("fsync m; fsync spool; ", "ext4-ordered", {("LOST", "CRASH-02")}),
        ("fsync m; chmod", "ext4-ordered", {("MARK", "CRASH-04")}),
    ],
)
def test_a_barrier_less_is_found_under_the_models_that_need_it(
    left_out: str, model: str, found: set[tuple[str, str]]
) -> None:
    assert left_out in RIGHT
    assert broken(RIGHT.replace(left_out, "chmod" if left_out.endswith("chmod") else ""), model) == found


def test_a_sigkill_in_a_write_behind_the_mark_is_found() -> None:
    assert broken("creat m 755; write m 9000; reply one", "process-crash") == {("MARK", "CRASH-04")}


def test_a_message_that_somebody_took_away_is_not_judged_where_no_mailer_is_told_of() -> None:
    history = told(f"{RIGHT}; as 20; unlink m; fsync spool")
    result = Inquest(history, "strict-posix").carry_out()
    assert result.findings == []
    assert result.counts["not judged"] > 0
    assert untold(history) == [NOBODY_RECOVERS, NO_MAILER]


def test_who_promised_it_may_not_take_it_away() -> None:
    assert broken(f"{RIGHT}; unlink m; fsync spool", "process-crash") == {("LOST", "CRASH-01")}


def test_what_its_recorder_could_not_see_is_said() -> None:
    history = replace(told("creat m; write m 10"), notes=("mmap is not followed",))
    assert untold(history) == ["mmap is not followed", NOBODY_RECOVERS, NO_PROMISE]


def test_a_campaign_carries_it_out_with_any_number_of_processes() -> None:
    tasks = [Inquest(told(RIGHT.replace("fsync spool; ", "")), model) for model in ("strict-posix", "xfs", "ext2")]
    one, two = (campaign.carry_out(tasks, jobs=jobs) for jobs in (1, 2))
    assert (one.counts, one.findings) == (two.counts, two.findings)
    assert [finding.model for finding in one.findings] == ["strict-posix"]
    assert one.findings[0].address.startswith("strict-posix:c6:")
