"""The guarantees: a good program breaks none in any crash state, and each way to spoil it breaks the one it should.

A spool file here is the body and nothing else, and `recover` is a smapd of ten lines: the judges know no more of them.
"""

from dataclasses import replace

import pytest
from history_script import Script
from smap_simulator import check, conduct
from smap_simulator.check import Case, Violation
from smap_simulator.crash import Crashes
from smap_simulator.history import History, MailerEnd, Message, Write
from smap_simulator.image import FILE, Image, Node, spool_image
from smap_simulator.models import MODELS
from smap_simulator.past import Form, Past, form

WAY_IN = "creat m; lock m; write m 600; fsync m; chmod m; fsync m; fsync spool; unlock m; reply one; exit 0"
WAY_OUT = "as 20; lock m; mail m 0; unlink m; fsync spool; unlock m; exit 0"
MOVE = "link m bad/.m; fsync bad; rename m bad/m; fsync bad; fsync spool; unlink bad/.m"
ASIDE = f"as 20; lock m; mail m 67; {MOVE}; unlock m; exit 0"
OUT, BAD = f"{WAY_IN}; {WAY_OUT}", f"{WAY_IN}; {ASIDE}"
DISKS = "strict-posix ext4-ordered ext4-writeback ext4-nodelalloc ext4-journal xfs btrfs ext2"
EVERY = f"process-crash {DISKS}"


def run(text: str, start: Image | None = None) -> History:
    made = Script(start).run(text)
    past = Past(made.history())
    body = past.whole(max((inode for inode in range(4, 9) if past.whole(inode)), default=0)) or b"nothing"
    return made.history((Message("one", "s@a.example", ("r@b.example",), body),))


def recover(image: Image, messages: tuple[Message, ...], *, removes: bool = True) -> History:
    """What a smapd would do: mail whatever has the mark, and remove it."""
    made = Script(image)
    for name, node in image.directory("spool").items():
        if node.kind == FILE and node.mode == 0o755 and node.data:
            made.run(f"as {30 + len(made.events)}; lock {name}; mail {name} 0")
            made.run(f"unlink {name}; fsync spool; unlock {name}; exit 0" if removes else f"unlock {name}; exit 75")
    return made.history(messages)


def found(history: History, model: str) -> list[Violation]:
    """What is wrong in some crash state, the allowed included."""
    violations = []
    for state in Crashes(history, model).distinct():
        violations += check.violations(Case.of(history, state, recover(state.image, history.messages)))
    return violations


def broken(violations: list[Violation]) -> set[str]:
    return {f"{each.word} {each.rule}" for each in violations if not each.allowed}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("out", [WAY_OUT, ASIDE, "", "as 20; lock m; mail m 75; unlock m; exit 75"])
def test_a_good_program_breaks_nothing(out: str, model: str) -> None:
    history = run(f"{WAY_IN}; {out}")
    assert broken(found(history, model)) == set()
    assert conduct.violations(Past(history)) == []


# How to spoil it: what is taken from the good calls, what is put there, which guarantee goes, under which models

SPOILT = [
    ("no fsync before the mark", WAY_IN, "fsync m; chmod m", "chmod m", "MARK CRASH-04",
     "strict-posix ext4-ordered ext4-writeback xfs btrfs ext2"),
    ("no fsync after the mark", WAY_IN, "chmod m; fsync m", "chmod m", "LOST",
     "strict-posix xfs btrfs ext2"),
    ("fdatasync after the mark", WAY_IN, "chmod m; fsync m; fsync spool", "chmod m; fdatasync m", "LOST",
     "strict-posix ext4-ordered ext4-writeback ext4-nodelalloc ext4-journal ext2"),
    ("no fsync of the directory", WAY_IN, "fsync spool; ", "", "LOST", "strict-posix"),
    ("250 before the mark", WAY_IN, "fsync m; chmod m; fsync m; fsync spool; unlock m; reply one",
     "fsync m; fsync spool; reply one; chmod m; fsync m; unlock m", "LOST", EVERY),
    ("no sync at all", WAY_IN, "fsync m; chmod m; fsync m; fsync spool", "chmod m", "LOST", DISKS),
    ("removed without a sync", OUT, "unlink m; fsync spool", "unlink m", "DUPLICATE CRASH-07", DISKS),
    ("removed before the mailer's end", OUT, "mail m 0; unlink m", "unlink m", "LOST", EVERY),
    ("removed on 75", OUT, "mail m 0", "mail m 75", "LOST", EVERY),
    ("a bare rename into baddir", BAD, MOVE, "rename m bad/m; fsync bad; fsync spool", "BADDIR BAD-04",
     "strict-posix ext2"),
    ("a rename without syncs", BAD,
     MOVE, "rename m bad/m", "BADDIR G5",
     DISKS),
    ("baddir is not synced", BAD, "rename m bad/m; fsync bad", "rename m bad/m", "BADDIR BAD-04",
     "strict-posix ext2"),
    ("the spool is not synced", BAD, "fsync bad; fsync spool", "fsync bad", "BADDIR G5",
     "strict-posix btrfs ext2"),
]  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("row", SPOILT, ids=lambda row: row[0])
def test_each_way_to_spoil_it_breaks_its_guarantee(row: tuple[str, ...], model: str) -> None:
    _, calls, old, new, word, models = row
    assert calls.count(old) == 1
    words = broken(found(run(calls.replace(old, new)), model))
    assert any(each.startswith(word) for each in words) == (model in models.split()), words


def test_which_rule_a_loss_breaks() -> None:
    history = run(WAY_IN.replace("fsync m; chmod m; fsync m; fsync spool", "fsync m"))
    for model, rule in (("process-crash", "CRASH-01"), ("ext4-ordered", "CRASH-02"), ("strict-posix", "CRASH-03")):
        assert f"LOST {rule}" in broken(found(history, model))


def test_the_mailer_that_got_a_part_is_found_out() -> None:
    history = run(WAY_IN.replace("fsync m; chmod m", "chmod m"))
    assert "PARTIAL CRASH-05" in broken(found(history, "ext4-writeback"))
    assert "PARTIAL CRASH-05" not in broken(found(history, "ext4-journal"))


def test_a_duplicate_is_allowed_until_the_copy_is_done() -> None:
    history = run(OUT)
    allowed = [each for each in found(history, "ext4-ordered") if each.word == "DUPLICATE"]
    assert {each.allowed for each in allowed} == {"the crash fell between the mailer's exit 0 and the durable removal"}
    failed = run(OUT.replace("unlink m; fsync spool", "unlink m; fail fsync spool"))
    assert "the removal failed" in {each.allowed for each in found(failed, "ext4-ordered")}
    assert broken(found(failed, "ext4-ordered")) == set()


def test_a_message_that_stays_in_the_spool_is_stuck_and_not_lost() -> None:
    history = run(WAY_IN)
    state = Crashes(history, "ext4-ordered").state(f"ext4-ordered:c{len(history.events)}")
    idle = replace(history, start=state.image, events=())
    case = Case.of(history, state, idle)
    assert [each.word for each in check.violations(case)] == ["STUCK"]
    assert check.violations(replace(case, accepts=False)) == []


def test_what_lay_in_baddir_is_watched() -> None:
    nodes = dict(spool_image().nodes)
    nodes[3] = replace(nodes[3], entries={"m": 4})
    nodes[4] = Node(FILE, 0o755, b"not looked at yet\n")
    history = run("creat n; write n 9; chmod n; syncfs; rename n bad/m; syncfs", Image(nodes))
    assert "BADDIR BAD-02" in broken(found(history, "process-crash"))
    assert "BADDIR BAD-02" in {f"{each.word} {each.rule}" for each in conduct.violations(Past(history))}


def test_two_messages_that_are_alike_are_told_apart_by_their_files() -> None:
    one = "creat m; write m 90; syncfs; chmod m; syncfs; reply one"
    two = "creat n; write n 90; syncfs; chmod n; syncfs; reply two"
    made = Script().run(f"{one}; {two}")
    events = [replace(event, data=b"x" * 90) if isinstance(event, Write) else event for event in made.events]
    alike = tuple(Message(name, "s@a.example", ("r@b.example",), b"x" * 90) for name in ("one", "two"))
    history = History(made.start, tuple(events), alike)
    assert broken(found(history, "strict-posix")) == set()
    case = Past(replace(history, events=(*events, *Script(found_image(history)).run("mail n 0").events)))
    assert [each.message for each in case.deliveries] == ["two"]


def test_alike_and_delivered_before_any_word_was_said() -> None:
    ready = "creat {0}; lock {0}; write {0} 90; syncfs; chmod {0}; syncfs; unlock {0}"
    first = f"as 10; {ready.format('m')}; as 11; {ready.format('n')}"
    out = "as 20; lock n; mail n 0; unlink n; fsync spool; unlock n; exit 0"
    made = Script().run(f"{first}; {out}; as 10; reply one; as 11; reply two")
    events = [replace(event, data=b"x" * 90) if isinstance(event, Write) else event for event in made.events]
    read = [replace(event, read=b"x" * 90) if isinstance(event, MailerEnd) else event for event in events]
    alike = tuple(Message(name, "s@a.example", ("r@b.example",), b"x" * 90) for name in ("one", "two"))
    assert broken(found(History(made.start, tuple(read), alike), "ext4-ordered")) == set()


def found_image(history: History) -> Image:
    return Crashes(history, "process-crash").state(f"process-crash:c{len(history.events)}").image


def test_a_crash_in_the_recovery_is_judged_with_what_came_before_it() -> None:
    history = run(WAY_IN)
    state = Crashes(history, "ext4-ordered").state(f"ext4-ordered:c{len(history.events)}")
    good = recover(state.image, history.messages)
    bad = Script(state.image).run("unlink m; fsync spool").history(history.messages)
    for recovery, words in ((good, set()), (bad, {"LOST CRASH-06"})):
        violations = []
        for second in Crashes(recovery, "ext4-ordered").distinct():
            earlier = (Past(history, state.cut),)
            again = recover(second.image, history.messages)
            violations += check.violations(Case.of(recovery, second, again, earlier))
        assert broken(violations) == words
        assert any(each.word == "DUPLICATE" for each in violations) == (recovery is good)


# Conduct

CONDUCT = [
    ("written without a lock", WAY_IN, "creat m; lock m", "creat m", "LOCK GATHER-04"),
    ("unlocked before the mark", WAY_IN, "fsync m; chmod m", "fsync m; unlock m; chmod m", "LOCK GATHER-06"),
    ("promised before the mark", WAY_IN, "chmod m; fsync m; fsync spool; unlock m; reply one",
     "reply one; chmod m; fsync m; fsync spool; unlock m", "PROMISE GATHER-07"),
    ("promised after a failed fsync", WAY_IN, "write m 600; fsync m", "write m 600; fail fsync m; fsync m",
     "PROMISE CRASH-08"),
    ("promised after a failed fsync of the directory", WAY_IN, "fsync spool", "fail fsync spool", "PROMISE CRASH-08"),
    ("promised after a failed close", WAY_IN, "unlock m", "unlock m; fail close m", "PROMISE CRASH-08"),
    ("delivered without a lock", OUT, "as 20; lock m", "as 20", "LOCK SCAN-05"),
    ("delivered while smap holds it", OUT, "unlock m; reply one; exit 0; as 20; lock m",
     "lock m fcntl; unlock m; reply one; as 20; lock m", "LOCK SCAN-03"),
    ("removed on 75", OUT, "mail m 0", "mail m 75", "KEPT-AFTER-FAULT MAILER-04"),
    ("removed on a signal", OUT, "mail m 0", "mail m -9", "KEPT-AFTER-FAULT MAILER-04"),
    ("set aside on 75", BAD, "mail m 67", "mail m 75", "KEPT-AFTER-FAULT MAILER-04"),
    ("removed on 67", OUT, "mail m 0", "mail m 67", "KEPT-AFTER-FAULT MAILER-05"),
    ("removed and never mailed", OUT, "mail m 0; ", "", "KEPT-AFTER-FAULT MAILER-03"),
    ("copied to baddir", BAD, MOVE,
     "creat bad/m; lock bad/m; write bad/m 600; unlink m", "BADDIR BAD-01"),
    ("linked to baddir", BAD, MOVE,
     "link m bad/m; unlink m", "BADDIR BAD-01"),
    ("lost without any crash", OUT, "mail m 0; ", "", "LOST CRASH-01"),
]  # fmt: skip


@pytest.mark.parametrize(("calls", "old", "new", "word"), [row[1:] for row in CONDUCT], ids=[row[0] for row in CONDUCT])
def test_conduct(calls: str, old: str, new: str, word: str) -> None:
    assert calls.count(old) == 1
    history = run(calls.replace(old, new))
    violations = conduct.violations(Past(history))
    assert word in broken(violations)
    event = next(each.event for each in violations if f"{each.word} {each.rule}" == word)
    assert -1 <= event < len(history.events)


def test_a_run_without_faults_delivers_all_of_it_once() -> None:
    assert conduct.complete(Past(run(OUT))) == []
    twice = WAY_OUT.replace("mail m 0", "mail m 0; mail m 0")
    assert broken(conduct.complete(Past(run(f"{WAY_IN}; {twice}")))) == {"DUPLICATE SCAN-05"}
    half = WAY_OUT.replace("mail m 0", "mail m 0 300")
    assert broken(conduct.complete(Past(run(f"{WAY_IN}; {half}")))) == {"PARTIAL CRASH-05"}
    assert broken(conduct.complete(Past(run(WAY_IN)))) == {"STUCK SCAN-02"}


@pytest.mark.parametrize(("read", "how"), [
    (b"Subject: x\n\nhello\n", Form.WHOLE),
    (b"Subject: x\r\n\r\nhello\r\n", Form.WHOLE),
    (b"Received: from a\n\tby b; today\nSubject: x\n\nhello\n", Form.WHOLE),
    (b"Received: from a\nReceived: from b\nSubject: x\n\nhello\n", Form.OTHER),
    (b"Subject: x\n\nhell", Form.PREFIX),
    (b"Received: from a\n\tby b; to", Form.PREFIX),
    (b"", Form.PREFIX),
    (b"Received: from a\n", Form.PREFIX),
    (b"Subject: x\n\nhello\n\n", Form.OTHER),
    (b"ubject: x\n\nhello\n", Form.OTHER),
    (b"\0" * 18, Form.OTHER),
])  # fmt: skip
def test_what_a_mailer_read_beside_the_message(read: bytes, how: Form) -> None:
    assert form(read, Message("one", "s", ("r",), b"Subject: x\r\n\r\nhello\r\n")) == how
