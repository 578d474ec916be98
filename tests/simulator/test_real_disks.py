"""The models against the kernel's file systems: no state that a real one was left in may be in none of its models.

Few power cuts, that there be time for each file system; `held_to_disks.py` tries as many as one likes.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from block_log import PAGE_BYTES, Cut, Entry, Flush, Mark, Put, cuts, left_by
from real_disk import FILE_SYSTEMS

HERE = Path(__file__).parent
A, B, C = (Put(page * PAGE_BYTES, word * PAGE_BYTES) for page, word in enumerate((b"a", b"b", b"c")))


def test_a_cut_leaves_what_was_flushed_and_any_of_the_rest() -> None:
    log: list[Entry] = [Mark(0), A, Flush(), B, Mark(1), C]
    assert list(cuts(log)) == [
        Cut([], [], 0),
        Cut([], [A], 0),
        Cut(log[:3], [], 0),
        Cut(log[:3], [B], 0),
        Cut(log[:3], [B], 1),
        Cut(log[:3], [B, C], 1),
    ]
    *_, last = cuts(log)
    assert left_by({}, last, [1]) == {0: A.data, 2: C.data}
    assert left_by({0: b"x" * PAGE_BYTES}, last, []) == {0: A.data}


def test_a_write_that_begins_and_ends_within_a_page() -> None:
    put = Put(PAGE_BYTES - 2, b"wxyz")
    found = left_by({}, Cut([put], [], 0), [])
    assert (found[0][-2:], found[1][:2]) == (b"wx", b"yz")
    assert found[0][:-2].startswith(b"what somebody else")


Held = Callable[..., "subprocess.CompletedProcess[str]"]


def run(*arguments: str, through: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [*through, sys.executable, str(HERE / "held_to_disks.py"), *arguments]
    return subprocess.run(words, check=False, capture_output=True, text=True, env=environment)


@pytest.fixture
def held(root: None, unmet: Callable[[str], None]) -> Held:
    """Runs the program; what the machine has not got for it is an unmet need."""

    def run_it(*arguments: str) -> "subprocess.CompletedProcess[str]":
        done = run(*arguments)
        if done.returncode == os.EX_UNAVAILABLE:
            unmet(done.stderr.strip())
        return done

    return run_it


@pytest.mark.parametrize("name", FILE_SYSTEMS)
def test_no_state_of_a_real_file_system_is_in_none_of_its_models(name: str, held: Held, needs: object) -> None:
    assert callable(needs)
    needs(FILE_SYSTEMS[name].make.split()[0], package=FILE_SYSTEMS[name].package)
    done = held("--states", "24", "--histories", "6", name)
    assert done.returncode == 0, done.stderr or done.stdout
    assert "0 in no model, 0 break a promise of the reference" in done.stderr
    power_cuts = int(done.stderr.split(": ")[1].split()[0])
    assert power_cuts > 150


def test_a_model_that_says_too_little_is_found(held: Held, needs: object) -> None:
    """xfs leaves the mark behind at T4d; of ext4's model that is not to be had."""
    assert callable(needs)
    needs("mkfs.xfs", package="xfsprogs")
    done = held("--states", "10", "--histories", "0", "--model", "ext4-nodelalloc", "xfs")
    assert done.returncode == 1, done.stderr
    assert "T4d: after 5 calls: /spool/m" in done.stderr
    assert "mode 644 12288 bytes, as it once was" in done.stderr


def test_what_the_reference_needs_an_fsync_for_is_seen_on_a_real_disk(held: Held, needs: object) -> None:
    assert callable(needs)
    needs("mkfs.xfs", package="xfsprogs")
    lines = held("--states", "20", "--histories", "0", "--without", "xfs").stdout.splitlines()
    assert "| G2 the mark | LOST |" in lines


def test_a_file_system_that_is_none() -> None:
    done = run("fat")
    assert done.returncode == 2
    assert "no file system fat; there are ext4, " in done.stderr
    assert "Traceback" not in done.stderr


def test_who_may_not_mount_is_told() -> None:
    done = run("ext4", through=("setpriv", "--bounding-set", "-sys_admin") if os.geteuid() == 0 else ())
    assert done.returncode == os.EX_UNAVAILABLE
    assert done.stderr == "held_to_disks: [Errno 1] no mount namespace: run this as root\n"


def test_where_there_is_no_fuse_it_is_named(root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSE_LIBRARY_PATH", "/nowhere/libfuse3.so.3")
    done = run("ext4")
    assert done.returncode == os.EX_UNAVAILABLE
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("held_to_disks: [Errno 5] no FUSE here: ")
