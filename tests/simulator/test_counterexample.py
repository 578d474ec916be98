"""The text that a person gets: the omission, what was said before it, and a hint that was tried."""

import io
import json

import pytest
from history_script import script
from rich.console import Console
from smap_simulator.check import Violation
from smap_simulator.counterexample import Counterexample, helps, hint
from smap_simulator.crash import Crashes
from smap_simulator.history import Fsync, History
from smap_simulator.models import MODELS
from smap_simulator.wording import Wording

NO_G2 = "creat m; write m 12617; fsync m; chmod m; fsync spool; reply one; exit 0"


def example(text: str, id_: str, rule: str, event: int) -> Counterexample:
    history = script(text)
    return Counterexample.of(history, id_, (Violation("LOST", rule, "one", event, "as it was found"),), replay="do it")


def test_the_page_of_a_counterexample() -> None:
    assert example(NO_G2, "xfs:c6:0b0", "CRASH-02", 5).plain() == (
        "LOST  CRASH-02  a message that was promised is lost to a power cut\n"
        "model xfs: xfs\n"
        "id    xfs:c6:0b0\n"
        "      one as it was found\n"
        "replay: do it\n"
        "    0  smap  create spool/m 644                                            yes\n"
        "    1  smap  write spool/m 12617 B at 0                                    yes\n"
        "    2  smap  fsync spool/m = 0                                             barrier\n"
        "    3  smap  chmod spool/m 755                                             NO  <- the only omission\n"
        "    4  smap  fsync spool = 0                                               barrier\n"
        "    5  smap  reply 250 ok                                                  SAID\n"
        "== power cut ==\n"
        "       /bad  755  directory\n"
        "       /spool  755  directory\n"
        "       /spool/m  644  12617 bytes\n"
        "hint: operation 3 needs an fsync of file spool/m before operation 5\n"
    )


def test_the_same_for_a_terminal_and_for_a_machine() -> None:
    made = example(NO_G2, "xfs:c6:0b0", "CRASH-02", 5)
    console = Console(file=io.StringIO(), width=120)
    console.print(made)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for line in made.plain().splitlines():
        for word in line.replace("<- the only omission", "").split():
            assert word in shown
    plain = json.loads(made.json())
    assert plain["id"] == "xfs:c6:0b0"
    assert [each["durable"] for each in plain["operations"]] == ["yes", "yes", "barrier", "NO", "barrier", "SAID"]
    assert plain["violations"][0]["sentence"] == "a message that was promised is lost to a power cut"
    assert plain["hint"] == made.hint


HINTS = [
    # no fsync after the mark
    (NO_G2, "strict-posix:c6:0b0", 5,
     "operation 3 needs an fsync of file spool/m before operation 5; fdatasync is not enough on strict-posix"),
    ("creat m; write m 10; fsync m; chmod m; reply one", "ext4-ordered:c5:0b0", 4,
     "operation 3 needs an fsync of file spool/m before operation 4; fdatasync is not enough on ext4-ordered"),
    ("creat m; write m 10; fsync m; chmod m; reply one", "xfs:c5:0b0", 4,
     "operation 3 needs an fsync of file spool/m before operation 4"),
    # the mark before the bytes
    ("creat m; write m 600; chmod m; fsync spool", "strict-posix:c4:0b11:1.0z", 2,
     "operation 1 needs an fsync of file spool/m before operation 2"),
    ("creat m; write m 600; chmod m; fsync spool", "ext4-ordered:c3:0b101", 2,
     "operation 1 needs an fsync of file spool/m before operation 2"),
    # a name
    ("creat m; write m 600; fsync m; reply one", "strict-posix:c4:0b0", 3,
     "operation 0 needs an fsync of directory spool before operation 3"),
    # said too early
    ("creat m; write m 9; fsync m; fsync spool; reply one; chmod m; fsync m", "ext2:c6:0b0", 4,
     "operation 5 has to be durable before operation 4, and comes after it"),
    # nothing is left out
    ("creat m; write m 9; reply one", "ext2:c3:0b11", 2, ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "id_", "early", "told"), HINTS)
def test_the_hint(text: str, id_: str, early: int, told: str) -> None:
    history = script(text)
    state = Crashes(history, id_.partition(":")[0]).state(id_)
    assert hint(history, state, (Violation("LOST", "CRASH-02", "one", early),)) == told


@pytest.mark.parametrize("model", [name for name in MODELS if name != "process-crash"])
def test_a_hint_helps(model: str) -> None:
    """With the barrier that a hint speaks of, no state leaves out what it was about."""
    history = script(NO_G2)
    cut = 6
    for state in Crashes(history, model).states(cut):
        if not any(effect.event == 3 for effect in state.omitted):
            continue
        assert helps(history, state, Fsync(0, "", history.events[0].inode), 5)  # type: ignore[attr-defined]
        longer = History(history.start, (*history.events[:5], Fsync(0, "", 4), *history.events[5:]))
        assert [each for each in Crashes(longer, model).states(cut + 1) if each.omitted] == []


def test_words_follow_a_file_from_name_to_name() -> None:
    history = script(
        "creat m; chmod m; rename m bad/m; link bad/m k; unlink k; fail fsync bad/m; mkdir spool/d; syncfs"
    )
    assert Wording(history).events == [
        "create spool/m 644",
        "chmod spool/m 755",
        "rename spool/m bad/m",
        "link bad/m spool/k",
        "unlink spool/k",
        "fsync bad/m fails with errno 5",
        "mkdir spool/d 755",
        "syncfs = 0",
    ]
