"""The engine's states of each file against those of `brute_force`: at every cut of small histories, both ways.

A state that the engine lacks is a loss that nobody would be told of; one that only the engine has is a reproach that
nobody has earned.
"""

import pytest
from brute_force import Brute, Ext4Ordered, StrictPosix, View
from hypothesis import given, settings
from hypothesis import strategies as st
from smap_simulator import history as h
from smap_simulator.contents import Bounds
from smap_simulator.crash import Crashes
from smap_simulator.image import FILE, ROOT, Image, Node

ALL = Bounds(bad_blocks=99, places=9999, sets=1 << 24)
SPOOL, BAD, OLD = 2, 3, 4
NAMES = ((SPOOL, "m"), (SPOOL, "n"), (BAD, "m"))
START = Image(
    {
        ROOT: Node("directory", 0o755, entries={"spool": SPOOL, "bad": BAD}),
        SPOOL: Node("directory", 0o755, entries={"n": OLD}),
        BAD: Node("directory", 0o755),
        OLD: Node(FILE, 0o755, b"O" * 600),
    }
)
ON_FILES = ("fsync", "fdatasync", "failed fsync", "chmod", "chown", "append", "append much", "write over")
WHO = (10, "smap")


class Kernel:
    """What exists while a history is made up, so that every call is one that a kernel lets through."""

    def __init__(self, much_bytes: int) -> None:
        self.names = {(SPOOL, "n"): OLD}
        self.sizes = {OLD: 600}
        self.events: list[h.Event] = []
        self._much_bytes = much_bytes

    def calls(self) -> list[tuple[object, ...]]:
        free = [place for place in NAMES if place not in self.names]
        found: list[tuple[object, ...]] = [("create", place) for place in free]
        found += [("fsync", SPOOL), ("fsync", BAD), ("syncfs",), ("reply",)]
        for place, inode in sorted(self.names.items()):
            found += [(call, inode) for call in ON_FILES]
            found += [("unlink", place), *(("link", place, new) for new in free)]
            found += [("rename", place, new) for new in NAMES if self.names.get(new) != inode]
        return found

    def make(self, call: tuple[object, ...]) -> None:
        match call:
            case "create" | "unlink" | "link" | "rename", *places:
                self._name(call[0], *places)  # type: ignore[arg-type]
            case "append" | "append much" | "write over", int(inode):
                self._write(str(call[0]), inode)
            case "chmod", int(inode):
                self.events.append(h.Chmod(*WHO, inode, 0o755 if len(self.events) % 2 else 0o600))
            case "chown", int(inode):
                self.events.append(h.Chown(*WHO, inode, 100 + len(self.events), 0))
            case "fsync" | "fdatasync", int(inode):
                self.events.append(h.Fsync(*WHO, inode, call[0] == "fdatasync"))
            case "failed fsync", int(inode):
                self.events.append(h.Failed(*WHO, "fsync", 5, inode, True))
            case "syncfs", *_:
                self.events.append(h.Syncfs(*WHO))
            case _:
                self.events.append(h.Reply(*WHO, 1, 250))

    def _name(self, call: str, place: tuple[int, str], new: tuple[int, str] = (0, "")) -> None:
        if call == "create":
            self.names[place] = max(self.sizes) + 1
            self.sizes[self.names[place]] = 0
            self.events.append(h.Create(*WHO, self.names[place], *place, 0o644))
        elif call == "unlink":
            self.events.append(h.Unlink(*WHO, self.names.pop(place), *place))
        elif call == "link":
            self.names[new] = self.names[place]
            self.events.append(h.Link(*WHO, self.names[new], *new))
        else:
            inode = self.names.pop(place)
            self.events.append(h.Rename(*WHO, inode, *place, *new, self.names.get(new, 0)))
            self.names[new] = inode

    def _write(self, call: str, inode: int) -> None:
        size = self.sizes[inode]
        at, count = (0, min(450, size + 100)) if call == "write over" else (size, 300)
        count = self._much_bytes if call == "append much" else count
        self.events.append(h.Write(*WHO, inode, at, bytes([ord("A") + len(self.events)]) * count))
        self.sizes[inode] = max(size, at + count)


@st.composite
def histories(draw: st.DrawFn, much_bytes: int, most: int = 6) -> h.History:
    """Calls in any order, on two names in the spool and one in baddir."""
    kernel = Kernel(much_bytes)
    for _ in range(draw(st.integers(1, most))):
        kernel.make(draw(st.sampled_from(kernel.calls())))
    return h.History(START, tuple(kernel.events))


def by_file(history: h.History, model: str, cut: int) -> dict[int, set[View]]:
    """What the engine says that each file can be."""
    crashes = Crashes(history, model)
    made = [event.inode for event in history.events[:cut] if isinstance(event, h.Create)]
    found: dict[int, set[View]] = {inode: set() for inode in (OLD, *made)}
    for state in crashes.states(cut, ALL):
        names: dict[int, set[tuple[int, str]]] = {inode: set() for inode in found}
        for directory in (SPOOL, BAD):
            for name, inode in state.image.nodes[directory].entries.items():
                names[inode].add((directory, name))
        for inode, places in names.items():
            node = state.image.nodes[inode] if places else START.nodes[OLD]
            data = bytes(each if each == 0 or chr(each).isupper() else ord("?") for each in node.data)
            found[inode].add((frozenset(places), node.mode, node.uid, data) if places else None)
    assert not +crashes.cut_short
    return found


def compare(history: h.History, model: str, brute: Brute) -> None:
    for cut in range(len(history.events) + 1):
        ours = by_file(history, model, cut)
        for inode, states in ours.items():
            theirs = brute.views(inode)
            assert theirs - states == set(), f"cut {cut}, inode {inode}: the engine lacks them"
            assert states - theirs == set(), f"cut {cut}, inode {inode}: only the engine has them"
        if cut < len(history.events):
            brute.step()


@settings(max_examples=400)
@given(histories(700))
def test_strict_posix_leaves_of_each_file_what_brute_force_says(history: h.History) -> None:
    compare(history, "strict-posix", StrictPosix(history))


@settings(max_examples=800)
@given(histories(5000))
def test_ext4_ordered_leaves_of_each_file_what_brute_force_says(history: h.History) -> None:
    compare(history, "ext4-ordered", Ext4Ordered(history))


def made_of(calls: list[tuple[object, ...]], much_bytes: int) -> h.History:
    kernel = Kernel(much_bytes)
    for call in calls:
        assert call in kernel.calls()
        kernel.make(call)
    return h.History(START, tuple(kernel.events))


NEW = OLD + 1
M, N, ASIDE = NAMES


@pytest.mark.parametrize(
    "calls",
    [
        # What chance seldom draws, and what was wrong once.
        [("rename", N, M), ("fdatasync", OLD)],
        [("rename", N, M), ("write over", OLD), ("fdatasync", OLD)],
        [("link", N, ASIDE), ("append", OLD), ("chmod", OLD), ("fdatasync", OLD)],
        [("create", M), ("write over", NEW), ("write over", NEW), ("chmod", NEW), ("fsync", SPOOL)],
        [("append", OLD), ("chmod", OLD), ("fsync", SPOOL)],
        [("create", M), ("append much", NEW), ("failed fsync", NEW), ("fsync", NEW)],
        [("append much", OLD), ("failed fsync", OLD), ("append", OLD), ("fsync", OLD), ("chmod", OLD)],
        [("create", M), ("append", NEW), ("failed fsync", NEW), ("chmod", NEW), ("fsync", NEW), ("append", NEW)],
    ],
    ids=lambda calls: ", ".join(call for call, *_ in calls),
)
def test_these_too(calls: list[tuple[object, ...]]) -> None:
    history = made_of(calls, 700)
    compare(history, "strict-posix", StrictPosix(history))
    history = made_of(calls, 5000)
    compare(history, "ext4-ordered", Ext4Ordered(history))
