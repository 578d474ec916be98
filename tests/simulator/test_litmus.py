"""Programs whose behaviour in a crash is known: the toy of ALICE and three litmus tests, with the answer of each model.

The answers follow from what the file systems' authors promise and from what others have measured; they were written
down before the models were asked.
"""

import pytest
from history_script import images, script
from smap_simulator.crash import Crashes
from smap_simulator.history import Reply
from smap_simulator.image import Image
from smap_simulator.models import MODELS

DISKS = [name for name in MODELS if name != "process-crash"]
JOURNALS = ["ext4-ordered", "ext4-writeback", "ext4-nodelalloc", "ext4-journal", "xfs", "btrfs"]


def data(image: Image, name: str) -> bytes | None:
    node = image.directory("spool").get(name)
    return node.data if node else None


def holds(answer: str, model: str) -> bool:
    return answer == "all" or model in answer.split()


# Prefix append: what was appended is there up to some point, and right up to it

# ext4 once wrote the bytes before the size. Now that it allocates late, and marks blocks as unwritten, zeros can stand
# there.
PREFIX_APPEND = "process-crash ext4-nodelalloc ext4-journal xfs btrfs"


@pytest.mark.parametrize("model", MODELS)
def test_append_leaves_a_prefix(model: str) -> None:
    history = script("write m 9000", before="creat m; write m 4096")
    whole = images(history, "process-crash")[0].directory("spool")["m"].data
    found = {data(image, "m") for image in images(history, model)}
    is_prefix = all(whole.startswith(each or b"") and len(each or b"") >= 4096 for each in found)
    assert is_prefix == holds(PREFIX_APPEND, model)
    assert len(found) > 1 or model == "process-crash"


# Atomic replacement by rename: the old content, or the new one


def replaced(text: str, model: str) -> tuple[set[str], bool]:
    """What the name leads to after the calls, and whether the temporary name can be gone with the old content there."""
    history = script(text, before="creat m; write m 600")
    old = history.start.directory("spool")["m"].data
    new = images(history, "process-crash")[0].directory("spool")["m"].data
    words = {old: "old", new: "new", b"": "empty", None: "none"}
    found = {words.get(data(image, "m"), "other") for image in images(history, model)}
    lost = any(data(image, "m") == old and data(image, "t") is None for image in images(history, model))
    return found, lost


_REPLACE = "creat t; write t 6000; {}rename t m{}"
WITHOUT_SYNC = {
    "process-crash": "new",
    "strict-posix": "old new empty other",
    "ext4-ordered": "old new empty other",
    "ext4-writeback": "old new empty other",
    "ext4-nodelalloc": "old new",
    "ext4-journal": "old new",
    "xfs": "old new empty other",
    "btrfs": "old new empty other",
    "ext2": "old new empty other",
}


@pytest.mark.parametrize("model", MODELS)
def test_replace_by_rename_without_a_sync(model: str) -> None:
    assert replaced(_REPLACE.format("", ""), model)[0] == set(WITHOUT_SYNC[model].split())


@pytest.mark.parametrize("model", MODELS)
def test_replace_by_rename_with_an_fsync_first_is_atomic_everywhere(model: str) -> None:
    found, _ = replaced(_REPLACE.format("fsync t; ", ""), model)
    assert found == ({"new"} if model == "process-crash" else {"old", "new"})


@pytest.mark.parametrize("model", MODELS)
def test_and_with_an_fsync_of_the_directory_it_is_durable(model: str) -> None:
    assert replaced(_REPLACE.format("fsync t; ", "; fsync spool"), model)[0] == {"new"}


@pytest.mark.parametrize("model", DISKS)
def test_a_rename_in_one_directory_can_lose_both_files_only_without_a_journal(model: str) -> None:
    _, lost = replaced(_REPLACE.format("fsync t; fsync spool; ", ""), model)
    assert lost == (model not in JOURNALS)


# Two files: is the second there without the first?


@pytest.mark.parametrize(("text", "in_order"), [
    ("write m 300; write n 300", "process-crash ext4-nodelalloc ext4-journal"),  # appends
    ("write m 300 at 0; write n 300 at 0", "process-crash ext4-journal"),  # written over in place
    ("write m 300; fsync m; write n 300", "all"),
    ("write m 300; fdatasync m; write n 300", "all"),
    ("chmod m; chmod n", " ".join(["process-crash", *JOURNALS])),
    ("chmod m; fsync m; chmod n", "all"),
    ("chmod m; fsync spool; chmod n", " ".join(["process-crash", *JOURNALS])),
    ("chmod m; fdatasync m; chmod n", " ".join(["process-crash", *JOURNALS])),
])  # fmt: skip
@pytest.mark.parametrize("model", MODELS)
def test_two_files_in_order(model: str, text: str, in_order: str) -> None:
    history = script(text, before="creat m; write m 500; creat n; write n 500")
    before = history.start.directory("spool")
    reordered = any(
        image.directory("spool")["m"] == before["m"] and image.directory("spool")["n"] != before["n"]
        for image in images(history, model)
    )
    assert reordered == (not holds(in_order, model))


# ALICE's toy: write a temporary file, rename it, say "updated". What was said must be so; else old or new.


def toy(text: str, model: str) -> set[str]:
    """The words for what is wrong in some crash state."""
    history = script(text, before="creat file1; write file1 5")
    old = history.start.directory("spool")["file1"].data
    new = images(history, "process-crash")[0].directory("spool")["file1"].data
    found = set()
    for state in Crashes(history, model).distinct():
        said = any(isinstance(event, Reply) for event in history.events[: state.cut])
        content = data(state.image, "file1")
        if said and content != new:
            found.add("said, and not so")
        if not said and content not in (old, new):
            found.add("neither old nor new")
    return found


_TOY = "creat tmp; write tmp 5; {}rename tmp file1; {}reply updated"
_BOTH = {"said, and not so", "neither old nor new"}


@pytest.mark.parametrize("model", MODELS)
def test_the_toy_as_it_is(model: str) -> None:
    expected = set() if model == "process-crash" else {"said, and not so"}
    if model in ("strict-posix", "ext4-ordered", "ext4-writeback", "xfs", "btrfs", "ext2"):
        expected = _BOTH
    assert toy(_TOY.format("", ""), model) == expected


@pytest.mark.parametrize("model", DISKS)
def test_the_toy_with_an_fsync_of_the_file_is_atomic_and_not_durable(model: str) -> None:
    assert toy(_TOY.format("fsync tmp; ", ""), model) == {"said, and not so"}


@pytest.mark.parametrize("model", MODELS)
def test_the_toy_as_it_should_be(model: str) -> None:
    assert toy(_TOY.format("fsync tmp; ", "fsync spool; "), model) == set()


@pytest.mark.parametrize("model", DISKS)
def test_the_toy_with_the_syncs_in_the_wrong_place(model: str) -> None:
    """An fsync of the directory before the rename buys nothing of it."""
    assert "said, and not so" in toy(_TOY.format("fsync tmp; fsync spool; ", ""), model)
