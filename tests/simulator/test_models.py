"""Each model against the truth table, and against the other models."""

import pytest
from history_script import images, script
from smap_simulator.contents import Bounds
from smap_simulator.crash import Crashes
from smap_simulator.history import History
from smap_simulator.models import MODELS, SECTOR_BYTES
from truth_table import COLUMNS, NOT_MEASURED, ROWS, Row

DISKS = [name for name in MODELS if name != "process-crash"]
CELLS = [(row, model, state) for row in ROWS for model, state in row.cells()]


def row(name: str) -> Row:
    return next(row for row in ROWS if row.id == name)


@pytest.mark.parametrize(("row", "model", "state"), CELLS, ids=lambda value: getattr(value, "id", value))
def test_a_state_that_was_seen_is_one_of_the_models(row: Row, model: str, state: str) -> None:
    assert state in row.allowed(model)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_strict_posix_and_what_it_leaves_out(row: Row) -> None:
    """Each file system is one that the standard allows, as far as the words of this row can tell."""
    strict = set(row.allowed("strict-posix"))
    for model in DISKS:
        assert strict >= set(row.allowed(model)), model


# What a row was made to tell apart: a state, who has it, and who must not.
SEPARATIONS = [
    ("T4d", "644 OK", "xfs btrfs", "ext4-ordered ext4-writeback ext4-nodelalloc ext4-journal"),
    ("Df", "644 OK", "ext4-ordered ext4-writeback ext4-nodelalloc ext4-journal", "xfs btrfs"),
    ("T5b", "both", "ext2 btrfs", "ext4-ordered ext4-writeback ext4-nodelalloc ext4-journal xfs"),
    ("T5s", "LOST", "ext2 strict-posix", "ext4-ordered ext4-writeback ext4-nodelalloc ext4-journal xfs btrfs"),
    ("T5f", "both", "ext2 btrfs", "ext4-ordered ext4-writeback ext4-nodelalloc ext4-journal xfs"),
    ("T5fd", "spool", "ext4-ordered ext4-writeback ext4-nodelalloc ext4-journal", "xfs btrfs"),
    ("T8", "755 EMPTY", "ext4-ordered ext4-writeback xfs ext2", "ext4-nodelalloc ext4-journal"),
    ("T8", "none", "btrfs", "ext4-ordered ext4-writeback ext4-nodelalloc ext4-journal xfs"),
    ("T10", "644 EMPTY", "ext4-ordered ext4-writeback xfs ext2", "ext4-nodelalloc ext4-journal"),
    ("T10", "none", "btrfs", "ext4-ordered ext4-writeback ext4-nodelalloc ext4-journal xfs"),
    ("T11", "644 EMPTY", "ext4-ordered ext4-writeback xfs btrfs ext2", "ext4-nodelalloc ext4-journal"),
    ("T2", "none", "strict-posix", "ext4-ordered ext4-writeback ext4-nodelalloc ext4-journal xfs btrfs ext2"),
    ("T8", "755 zeros", "ext4-ordered ext4-writeback strict-posix ext2", "xfs btrfs ext4-nodelalloc ext4-journal"),
    ("Ud", "none", "xfs btrfs ext2", "ext4-ordered ext4-writeback ext4-nodelalloc ext4-journal"),
    ("L", "spool", "ext4-ordered ext4-writeback ext4-nodelalloc ext4-journal", "xfs btrfs"),
    ("Z", "644 zeros", "ext4-ordered ext4-writeback ext2 strict-posix", "xfs btrfs ext4-nodelalloc ext4-journal"),
    ("T14", "zeros", "ext4-ordered ext4-writeback ext4-nodelalloc ext2", "ext4-journal btrfs"),
    ("T14", "short", "ext4-ordered xfs btrfs", "ext4-nodelalloc ext4-journal"),
    ("F", "644 zeros", "ext4-ordered btrfs", "xfs"),
    ("F", "644 EMPTY", "xfs", "ext4-ordered btrfs"),
]


@pytest.mark.parametrize(("name", "state", "has", "lacks"), SEPARATIONS)
def test_rows_that_separate_models_do(name: str, state: str, has: str, lacks: str) -> None:
    assert [model for model in has.split() if state not in row(name).allowed(model)] == []
    assert [model for model in lacks.split() if state in row(name).allowed(model)] == []


def test_each_row_whose_columns_differ_separates() -> None:
    differ = {one.id for one in ROWS if len(set(one.seen) - {NOT_MEASURED}) > 1}
    # T13 waited 8 seconds, time enough for ext4 and not for the others: it says nothing of what they can leave.
    # Nor does U, of which `none` is the word: an fsync of a file that has not changed forces nothing.
    assert differ - {"T13", "U"} == {name for name, *_ in SEPARATIONS} - {"T2"}


def test_each_row_is_explained_by_a_rule_and_each_rule_by_rows_that_exist() -> None:
    known = {one.id for one in ROWS}
    named = {name for model in MODELS.values() for _, rule in model.rules() for name in rule.rows}
    assert named <= known
    assert known - named == {"D", "Ds"}  # they repeat what T4 and T3 say, of an order of calls and of a flag


def test_the_rows_of_a_rule_were_measured_on_what_the_model_stands_for() -> None:
    for name in DISKS:
        if name == "strict-posix":  # stands for no file system
            continue
        column = next(number for number, models in enumerate(COLUMNS.values()) if name in models)
        for question, rule in MODELS[name].rules():
            for cited in rule.rows:
                if cited == "F" and row("F").seen[column] == NOT_MEASURED:
                    continue  # measured on ext4 as mounted by default, and taken for the other ways to mount it
                if row(cited).seen[column] == NOT_MEASURED:
                    assert (name, cited) == ("ext4-journal", "T13"), f"{name} {question}"


# Inclusion: every state of the one is a state of the other.
INCLUDED = [
    ("ext4-journal", "ext4-nodelalloc"),
    ("ext4-nodelalloc", "ext4-ordered"),
    ("ext4-ordered", "ext4-writeback"),
    ("ext4-nodelalloc", "xfs"),
    ("ext4-writeback", "strict-posix"),
    ("xfs", "strict-posix"),
    ("btrfs", "strict-posix"),
    ("ext2", "strict-posix"),
]
HISTORIES = {
    "a message": "creat m; write m 700; write m 500; fsync m; chmod m; fsync m; fsync spool; reply one; exit 0",
    "a message without a sync": "creat m; write m 300; write m 900; chmod m",
    "a mark before the bytes": "creat m; write m 1400; chmod m; fsync spool",
    "two messages": "creat m; write m 700; creat n; write n 1100; fsync n; chmod n; chmod m; fsync m; fsync spool",
    "a removal": "creat m; write m 100; fsync m; fsync spool; unlink m; fsync spool",
    "set aside": "creat m; write m 100; syncfs; rename m bad/m; fsync bad; fsync spool",
    "held": "creat m; write m 100; syncfs; link m bad/.m; fsync bad; rename m bad/m; fsync bad; unlink bad/.m",
    "a name again": "creat m; write m 10; unlink m; creat m; write m 20; chmod m; rename m n; creat m",
    "owners": "creat m; chown m 7; write m 600; chmod m; chown m 8; fsync m; chown m 9",
    "a directory": "mkdir spool/d; creat spool/d/m; write spool/d/m 10; fsync spool/d/m",
    "written over": "creat m; write m 1000; fsync m; write m 600 at 0; trunc m 50; write m 100",
}


def files(history: History, model: str, cut: int) -> set[tuple[str, str]]:
    """What each name can be at a cut, each by itself: files are independent of each other."""
    found = set()
    for state in Crashes(history, model).states(cut, Bounds(bad_blocks=3)):
        there = dict(state.image.walk())
        for path in ("/spool/m", "/spool/n", "/bad/m", "/bad/.m", "/spool/d", "/spool/d/m"):
            found.add((path, repr(state.image.nodes[there[path]]) if path in there else "none"))
    return found


@pytest.mark.parametrize("text", HISTORIES.values(), ids=list(HISTORIES))
@pytest.mark.parametrize(("less", "more"), INCLUDED)
def test_a_stronger_model_leaves_less(less: str, more: str, text: str) -> None:
    history = script(text)
    for cut in range(len(history.events) + 1):
        assert files(history, less, cut) <= files(history, more, cut), f"cut {cut}"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("text", HISTORIES.values(), ids=list(HISTORIES))
def test_what_is_synced_is_one_state_and_it_is_the_one_that_programs_saw(text: str, model: str) -> None:
    history = script(f"{text}; syncfs")
    (only,) = images(history, model)
    assert only.digest() == images(history, "process-crash")[0].digest()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("text", HISTORIES.values(), ids=list(HISTORIES))
def test_what_programs_saw_is_a_state_of_every_model(text: str, model: str) -> None:
    """A commit may come by itself at any time, so a power cut may do no harm at all."""
    history = script(text)
    for cut in range(len(history.events) + 1):
        seen = images(history, "process-crash", cut)[0].digest()
        assert seen in {image.digest() for image in images(history, model, cut)}


# A failed fsync


def _contents(text: str, model: str) -> set[bytes]:
    found = set()
    for image in images(script(text), model):
        node = image.directory("spool").get("m")
        found.add(node.data if node else b"none")
    return found


@pytest.mark.parametrize("model", DISKS)
def test_a_second_fsync_proves_nothing(model: str) -> None:
    once = _contents("creat m; write m 100; fsync m; fsync spool", model)
    assert len(once) == 1
    again = _contents("creat m; write m 100; fail fsync m; fsync m; fsync spool", model)
    assert once < again
    assert (b"" if model == "xfs" else bytes(100)) in again


def test_what_was_written_after_a_failed_fsync_is_not_lost_with_it() -> None:
    text = "creat m; write m 4096; fail fsync m; write m 4096; fsync m; fsync spool"
    for model in DISKS:
        assert all(data[4096:8192] == live_m(text)[4096:] for data in _contents(text, model)), model


def live_m(text: str) -> bytes:
    return images(script(text), "process-crash")[0].directory("spool")["m"].data


def test_a_failed_fsync_of_a_directory_makes_no_name_durable_and_loses_none_for_good() -> None:
    failed = images(script("creat m; fail fsync spool"), "strict-posix")
    assert {"m" in image.directory("spool") for image in failed} == {True, False}
    again = images(script("creat m; fail fsync spool; fsync spool"), "strict-posix")
    assert {"m" in image.directory("spool") for image in again} == {True}


def test_sixteen_sectors_have_as_many_states_as_were_counted_by_hand() -> None:
    """Sizes 0 to 16, at most k bad sectors of two kinds or all of one kind, two modes; and no name at all."""
    history = script(f"creat m; write m {16 * SECTOR_BYTES}; chmod m")
    crashes = Crashes(history, "strict-posix")
    for bad, count in ((1, 639), (2, 6075)):
        assert sum(1 for _ in crashes.choices(len(history.events), Bounds(bad_blocks=bad))) == count
    digests = {state.digest for state in crashes.states(len(history.events))}
    assert len(digests) == 639  # and no two of them are the same


@pytest.mark.parametrize("model", ["ext4-ordered", "ext4-writeback", "ext4-nodelalloc"])
def test_after_a_failed_fsync_somebody_elses_bytes_may_stand_there(model: str) -> None:
    found = _contents("creat m; write m 100; fail fsync m; fsync m; fsync spool", model)
    assert any(b"stale bytes" in each for each in found)
    assert not any(b"stale bytes" in each for each in _contents("creat m; write m 100; fsync spool", "ext4-ordered"))


# Truncation


@pytest.mark.parametrize("model", DISKS)
def test_a_truncation_to_the_size_that_is_there_is_none(model: str) -> None:
    history = script("trunc m 100", before="creat m; write m 100")
    assert Crashes(history, model).pending(1).effects == ()


@pytest.mark.parametrize("model", ["ext4-ordered", "ext4-nodelalloc", "strict-posix"])
def test_zeros_may_be_there_before_the_size_that_cut_them_off(model: str) -> None:
    history = script("trunc m 50", before="creat m; write m 300")
    found = {image.directory("spool")["m"].data for image in images(history, model)}
    old = history.start.directory("spool")["m"].data
    assert found == {old, old[:50] + bytes(250), old[:50]}


def test_only_btrfs_may_have_an_attribute_without_the_truncation_before_it() -> None:
    history = script("trunc m 5000; chown m 7", before="creat m")
    for model in ("btrfs", "xfs", "ext4-ordered"):
        nodes = [image.directory("spool")["m"] for image in images(history, model)]
        assert any((node.uid, node.data) == (7, b"") for node in nodes) == (model == "btrfs")
