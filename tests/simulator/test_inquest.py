"""A history that somebody saved, cut in every way with no program at hand."""

from dataclasses import replace

import pytest
from history_script import content, script
from smap_simulator import campaign
from smap_simulator.crash import Crashes
from smap_simulator.history import History, Message, Write
from smap_simulator.inquest import NO_MAILER, NO_PROMISE, NOBODY_RECOVERS, Inquest, untold
from smap_simulator.models import MODELS
from smap_simulator.past import Past

RIGHT = "creat m; write m 9000; fsync m; chmod m; fsync m; fsync spool; reply one"


def told(calls: str, *, promised_bytes: int = 9000) -> History:
    message = Message("one", "s@a.example", ("r@b.example",), content(1, promised_bytes))
    return replace(script(calls), messages=(message,), title="by hand")


def broken(calls: str, model: str, promised_bytes: int = 9000) -> set[tuple[str, str]]:
    history = told(calls, promised_bytes=promised_bytes)
    return {(finding.word, finding.rule) for finding in Inquest(history, model).carry_out().findings}


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


def test_a_message_is_not_kept_by_another_that_is_alike() -> None:
    calls = "; ".join(
        f"as {process}; creat {name}; write {name} 900; fsync {name}; chmod {name}; {rest}; fsync spool; reply {name}"
        for process, name, rest in ((10, "m", "lock m"), (11, "n", "fsync n"))
    )
    plain = script(calls)
    same = tuple(replace(event, data=content(1, 900)) if isinstance(event, Write) else event for event in plain.events)
    messages = tuple(Message(name, "s@a", ("r@b",), content(1, 900)) for name in ("m", "n"))
    result = Inquest(replace(plain, events=same, messages=messages), "strict-posix").carry_out()
    assert {(finding.word, finding.message) for finding in result.findings} == {("LOST", "m")}


@pytest.mark.parametrize(
    "calls",
    [
        "creat bad/t; write bad/t 900; chmod bad/t; rename bad/t m; creat bad/log; reply one",
        "creat bad/t; write bad/t 900; chmod bad/t; link bad/t m; unlink bad/t; reply one",
        "spawn 900; as 900; creat m; write m 900; chmod m; as 10; reply one",
    ],
)
def test_the_file_of_a_promise_is_what_was_put_into_the_spool(calls: str) -> None:
    history = told(calls, promised_bytes=900)
    (promise,) = Past(history).promises
    assert promise.inode == history.start.at("bad") + 1  # type: ignore[operator]
    assert broken(calls, "process-crash", 900) == set()
