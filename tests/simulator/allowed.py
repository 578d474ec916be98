"""What a model says can be found of a history, in a form in which a real disk can be held against it.

Names of one file belong together, and are looked at together: what kind, mode, owner and bytes each has, and which are
one file. Bytes that no file of the history ever had at their place are garbage, whoever's they are.
"""

from collections.abc import Iterator

from smap_simulator.contents import Bounds
from smap_simulator.crash import Crashes, live
from smap_simulator.history import Create, History, Link, Mkdir, Rename
from smap_simulator.image import DIRECTORY, FILE, Image, Node
from smap_simulator.models import BLOCK_BYTES, MODELS, SECTOR_BYTES

BOUNDS = Bounds(bad_blocks=4, places=16)
FEW = Bounds(places=4)  # whole, empty or neither: there is no need of every size between
Paths = tuple[str, ...]
View = tuple[object, ...]


class Allowed:
    """What one model says can be found of one history: per group of names that have to do with each other."""

    def __init__(self, history: History, model: str) -> None:
        self._crashes = Crashes(history, model)
        self._is_coarse = MODELS[model].unit_bytes.answer != BLOCK_BYTES
        self._known = _sectors(history)
        self._whole = {node.data for cut in range(len(history.events) + 1) for node in _files(live(history, cut))}
        self.groups = groups(history)
        self._at: dict[tuple[int, Paths], set[View]] = {}

    def strange(self, events: int, image: Image) -> list[str]:
        """What the model does not have, in words; the event after `events` may have begun."""
        found = []
        for paths in self.groups:
            seen = self._view(image, paths)
            cuts = [events, min(events + 1, len(self._crashes.history.events))]
            if not any(seen in self._allowed(cut, paths) for cut in cuts):
                found.append("; ".join(_describe(path, image, self._whole) for path in paths))
        return found

    def _allowed(self, cut: int, paths: Paths) -> set[View]:
        key = (cut, paths)
        bounds = FEW if self._is_coarse else BOUNDS
        if key not in self._at:
            self._at[key] = {self._view(state.image, paths) for state in self._crashes.states(cut, bounds)}
        return self._at[key]

    def _view(self, image: Image, paths: Paths) -> View:
        """Nodes, and which names are one file. Of a disk that is written by sectors, only whole, empty or neither."""
        inodes = [image.at(path) for path in paths]
        nodes = [self._looks(image.nodes[inode]) if inode is not None else None for inode in inodes]
        return (*nodes, *(inodes.index(inode) for inode in inodes))

    def _looks(self, node: Node) -> tuple[object, ...]:
        if node.kind == DIRECTORY:
            return node.kind, node.mode, node.uid
        if self._is_coarse:
            data: object = node.data if node.data in self._whole or not node.data else "neither"
        else:
            data = tuple(
                sector if sector in self._known.get(start, ()) or not sector.strip(b"\0") else len(sector)
                for start, sector in _cut(node.data)
            )
        return node.kind, node.mode, node.uid, data


def _cut(data: bytes) -> Iterator[tuple[int, bytes]]:
    for start in range(0, len(data), SECTOR_BYTES):
        yield start, data[start : start + SECTOR_BYTES]


def _files(image: Image) -> list[Node]:
    return [node for node in image.nodes.values() if node.kind == FILE]


def _sectors(history: History) -> dict[int, set[bytes]]:
    """Every sector that a file ever had, by its place: anything else is garbage, whoever's it is."""
    found: dict[int, set[bytes]] = {}
    for cut in range(len(history.events) + 1):
        for node in _files(live(history, cut)):
            for start, sector in _cut(node.data):
                found.setdefault(start, set()).add(sector)
    return found


def groups(history: History) -> list[Paths]:
    """The names of a history, those together that ever named the same file.

    Where a name is used again for another file, the two have nothing to do with each other: each name by itself.
    """
    directories = {inode: path for path, inode in history.start.walk() if history.start.nodes[inode].kind == DIRECTORY}
    together: dict[str, set[str]] = {}
    names: dict[int, str] = {}
    files: dict[str, set[int]] = {}

    def add(inode: int, directory: int, name: str) -> None:
        path = f"{directories[directory]}/{name}"
        files.setdefault(path, set()).add(inode)
        first = names.setdefault(inode, path)
        both = together.setdefault(first, {first}) | together.setdefault(path, {path})
        for each in both:
            together[each] = both

    for directory in directories:
        for name, inode in history.start.nodes[directory].entries.items():
            add(inode, directory, name)
    for event in history.events:
        match event:
            case Mkdir():
                directories[event.inode] = f"{directories[event.directory]}/{event.name}"
                add(event.inode, event.directory, event.name)
            case Create() | Link():
                add(event.inode, event.directory, event.name)
            case Rename():
                add(event.inode, event.directory, event.name)
                add(event.inode, event.new_directory, event.new_name)
            case _:
                pass
    again = {path for path, named in files.items() if len(named) > 1}
    found = {tuple(sorted(paths)) for paths in together.values()}
    return sorted(part for paths in found for part in (((path,) for path in paths) if again & {*paths} else [paths]))


def _describe(path: str, image: Image, whole: set[bytes]) -> str:
    inode = image.at(path)
    if inode is None:
        return f"no {path}"
    node = image.nodes[inode]
    content = "as it once was" if node.data in whole else "zeros" if not node.data.strip(b"\0") else "other"
    return f"{path} inode {inode} mode {node.mode:o} {len(node.data)} bytes, {content}"
