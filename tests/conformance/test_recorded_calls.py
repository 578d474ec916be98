"""The recorder held against the kernel: what a program did to a directory, by every kind of call, is what was told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import odd_calls
import pytest
import recorded
from smap_conformance.recording import image_of
from smap_conformance.tracing import Trace, line
from smap_simulator.crash import live
from smap_simulator.history import Close, Failed, Fsync, History, Lock, Spawn, Unlock, Write
from smap_simulator.image import Image
from smap_simulator.recorder import strace, who
from smap_simulator.recorder.record import Log, Setting, record

PARTIAL_LOCK = "smap: fcntl: a lock on a part of a file is told as one on the whole"
NAMELESS = (
    "smap: openat: a file was made without a name (O_TMPFILE): what it went through before it got one is not told"
)
LINK = "smap: symlink: a symbolic link was made: no crash state tells of it"
UNSEEN = "bytes came into a watched file in a way that strace does not show"
PASSED = "smap: sendmsg: a descriptor of a watched file was passed to another process"


def told_of(part: str, directory: Path) -> tuple[History, Image]:
    """The history of one part of `odd_calls`, and what the kernel made of the directory."""
    recorded.needs_strace()
    top = directory / "disk"
    for name in ("spool", "bad"):
        (top / name).mkdir(parents=True)
        (top / name).chmod(0o777)
    start, log = image_of(top), directory / "log"
    command = (sys.executable, "-IS", odd_calls.__file__, part, str(top))
    with (directory / "complaints").open("w") as complaints:
        subprocess.run(line("strace", log, Trace(), command), check=True, stderr=complaints)
    text = recorded.whole_log(log)
    assert (directory / "complaints").read_text(encoding="utf-8") == ""
    items = who.named(strace.read(text), "smap", "/nowhere", "/nowhere")
    mask = os.umask(0o022)
    os.umask(mask)
    where = Log(items, cwd=os.getcwd(), umask=mask, uid=os.geteuid(), gid=os.getegid())
    return record([where], Setting(start, (str(top.resolve()),))).history, image_of(top)


def tree(image: Image) -> dict[str, tuple[object, ...]]:
    """What can be seen of an image, by path."""
    nodes = ((path, image.nodes[inode]) for path, inode in image.walk())
    return {path: (node.kind, f"{node.mode:o}", node.data, node.uid, node.gid) for path, node in nodes}


@pytest.mark.parametrize("first", ["8947 ", "28947"])
def test_a_log_is_whole_when_its_first_process_has_ended(tmp_path: Path, first: str) -> None:
    """However many digits its number has: those of the processes begin anew at 32 768."""
    log = tmp_path / "log"
    text = f"{first} 1795661641.142136 getpid() = 1\n{first} 1795661641.149565 +++ exited with 0 +++\n"
    log.write_text(text, encoding="ascii")
    assert recorded.whole_log(log, within_s=0.0) == text
    log.write_text(text.partition("\n")[0] + "\n", encoding="ascii")
    with pytest.raises(TimeoutError, match="has not come to its end"):
        recorded.whole_log(log, within_s=0.0)


@pytest.mark.parametrize("part", ["bytes_in_every_way", "names_in_every_way"])
def test_what_was_told_is_what_is_there(tmp_path: Path, part: str) -> None:
    told, there = told_of(part, tmp_path)
    assert told.notes == ()
    assert tree(live(told)) == tree(there)
    assert len(tree(there)) > 4


def test_a_write_to_a_synchronous_file_is_a_barrier(tmp_path: Path) -> None:
    told, _ = told_of("bytes_in_every_way", tmp_path)
    log = next(event.inode for event in told.events if isinstance(event, Write) and event.data == b"x")
    events = [type(event) for event in told.events if isinstance(event, Write | Fsync) and event.inode == log]
    assert events == [Write, Fsync] * 3


def test_failures_are_told_with_their_call(tmp_path: Path) -> None:
    told, _ = told_of("names_in_every_way", tmp_path)
    failed = [(event.call, event.errno) for event in told.events if isinstance(event, Failed)]
    assert failed[-2:] == [("unlink", 2), ("open", 17)]


def test_descriptors_are_followed_through_copies_forks_threads_and_sockets(tmp_path: Path) -> None:
    told, there = told_of("descriptors_in_every_way", tmp_path)
    assert told.notes == (PASSED,)
    assert tree(live(told)) == tree(there)
    assert tree(there)["/spool/m1"][2] == b"child thread passed shell\n"
    file = there.at("spool/m1")
    assert file is not None
    kinds = [(type(event), event.how) for event in told.events if isinstance(event, Lock | Unlock)]
    assert kinds == [(Lock, "flock"), (Lock, "fcntl"), (Unlock, "fcntl"), (Unlock, "flock")]
    unlocked = max(at for at, event in enumerate(told.events) if isinstance(event, Unlock))
    assert (
        max(at for at, event in enumerate(told.events) if isinstance(event, Write) and event.data != b"new\n")
        < unlocked
    )
    children = [event.argv for event in told.events if isinstance(event, Spawn)]
    assert children[:2] == [(), ()]
    assert children[2][:2] == ("sh", "-c")


def test_a_thread_is_part_of_its_process(tmp_path: Path) -> None:
    told, _ = told_of("descriptors_in_every_way", tmp_path)
    by_thread = next(event for event in told.events if isinstance(event, Write) and event.data == b"thread ")
    assert by_thread.process == told.events[0].process


def test_locks_of_open_files_and_of_parts(tmp_path: Path) -> None:
    told, _ = told_of("locks_of_open_files", tmp_path)
    assert told.notes == (PARTIAL_LOCK,)
    events = [event for event in told.events if isinstance(event, Lock | Unlock | Failed | Close)]
    shown = [(type(event).__name__, getattr(event, "how", getattr(event, "call", ""))) for event in events]
    assert shown == [
        ("Lock", "fcntl"), ("Unlock", "fcntl"), ("Close", ""),
        ("Lock", "fcntl"), ("Lock", "flock"), ("Lock", "flock"), ("Unlock", "flock"), ("Failed", "flock"),
        ("Unlock", "fcntl"), ("Close", ""), ("Unlock", "flock"), ("Close", ""),
    ]  # fmt: skip


def test_paths_beneath_a_changed_root_and_the_owner_after_a_change_of_user(tmp_path: Path, root: None) -> None:
    told, there = told_of("beneath_a_changed_root", tmp_path)
    assert told.notes == ()
    assert tree(live(told)) == tree(there)
    assert [path for path, seen in tree(there).items() if seen[3:] == (65534, 65534)] == ["/spool/m2", "/spool/m3"]


@pytest.mark.parametrize(
    ("part", "note"),
    [
        ("unseen_by_mmap", f"smap: mmap: {UNSEEN}"),
        ("unseen_by_sendfile", f"smap: sendfile: {UNSEEN}"),
        ("unseen_by_copy", f"smap: copy_file_range: {UNSEEN}"),
        ("with_a_link", LINK),
        ("without_a_name", NAMELESS),
    ],
)
def test_what_cannot_be_seen_or_told_is_noted(tmp_path: Path, part: str, note: str) -> None:
    told, there = told_of(part, tmp_path)
    assert told.notes == (note,)
    assert set(tree(live(told))) | {"/spool/aside"} >= set(tree(there))


def test_a_file_that_had_no_name_is_no_more_durable_than_was_told(tmp_path: Path) -> None:
    told, there = told_of("without_a_name", tmp_path)
    assert tree(live(told)) == tree(there)
    assert not any(isinstance(event, Fsync) for event in told.events)  # that one was before there was anything to tell
