"""Places that are open side by side: each with a compiled-in table of its own, read whenever its programs like."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from smap_conformance.sandbox import Sandbox
from smap_conformance.users import user_for_targets
from smap_conformance.view import NETPERM_PATH

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(user_for_targets())
    yield made
    made.close()


def read_there(sandbox: Sandbox, view: int) -> str:
    """What a program of that view reads at the compiled-in path."""
    program = sandbox.start(
        ["cat", NETPERM_PATH], cwd=Path("/"), environment={"PATH": os.defpath}, view=view, stdout=subprocess.PIPE
    )
    return program.communicate()[0].decode()


def test_tables_of_places_that_are_open_side_by_side_are_apart(sandbox: Sandbox) -> None:
    views = [sandbox.take_view() for _ in range(3)]
    for number, view in enumerate(views):
        sandbox.write_compiled_in_table(f"smap: maxrecip {number + 1}\n", view)
    assert [read_there(sandbox, view) for view in views] == [f"smap: maxrecip {number}\n" for number in (1, 2, 3)]
    sandbox.write_compiled_in_table(None, views[1])
    assert [bool(read_there(sandbox, view)) for view in views] == [True, False, True]
    for view in views:
        sandbox.give_back_view(view)


def test_a_view_shows_the_disks_that_are_mounted_after_it_was_made(sandbox: Sandbox) -> None:
    first, second = sandbox.take_view(), sandbox.take_view()
    disk = sandbox.work / "disk"
    disk.mkdir()
    sandbox.mount_disk(disk, 1 << 16, None)
    (disk / "file").write_text("seen\n", encoding="ascii")
    program = sandbox.start(
        ["cat", disk / "file"], cwd=Path("/"), environment={"PATH": os.defpath}, view=second, stdout=subprocess.PIPE
    )
    assert program.communicate()[0] == b"seen\n"
    sandbox.unmount_disk(disk)
    for view in (first, second):
        sandbox.give_back_view(view)


def test_a_view_that_was_given_back_is_taken_again(sandbox: Sandbox) -> None:
    first = sandbox.take_view()
    sandbox.give_back_view(first)
    assert sandbox.take_view() == first
    sandbox.give_back_view(first)
