"""The truth table: what real file systems left after a power cut, and what the models say of the same calls.

Measured on Linux 6.18 with default mount options by `held_to_disks.py`, which plays the rows again on the kernel at
hand; one run for each cell. A cell shows a state that does occur. Run as a program this prints the table with the
models' answers, as docs/durability.md has it.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from history_script import images, script
from smap_simulator.contents import Bounds
from smap_simulator.crash import live
from smap_simulator.history import History
from smap_simulator.image import Image
from smap_simulator.models import MODELS

# A column of the table, and the models that stand for it.
COLUMNS = {
    "ext4": ("ext4-ordered", "ext4-writeback"),
    "ext4 nodelalloc": ("ext4-nodelalloc",),
    "ext4 journal": ("ext4-journal",),
    "ext3": ("ext4-nodelalloc",),
    "ext2": ("ext2",),
    "xfs": ("xfs",),
    "btrfs": ("btrfs",),
}
FEW = Bounds(places=4)  # a row asks for whole, empty, or anything else: there is no need of every size between
NOT_MEASURED = "-"


class Row(NamedTuple):
    """One row: the calls, in the words of `history_script`, and a cell for each column."""

    id: str
    calls: str
    seen: tuple[str, ...]
    before: str = ""  # long durable when the calls begin
    asks: str = "file"
    within: str = ""  # one more call, which has only begun
    wait_s: int = 0  # after the calls

    def history(self) -> History:
        """The calls that came back."""
        return script(self.calls, before=self.before)

    def begun(self) -> History:
        """The same with the one that did not."""
        return script(f"{self.calls}; {self.within}", before=self.before)

    def cells(self) -> Iterator[tuple[str, str]]:
        """Model and state, for each state that was seen on what the model stands for."""
        for (_, models), cell in zip(COLUMNS.items(), self.seen, strict=True):
            for model in models:
                if cell != NOT_MEASURED:
                    yield model, cell

    def allowed(self, model: str) -> list[str]:
        """What a model says can be found after the calls."""
        return _allowed(self, model)


@cache
def _allowed(row: Row, model: str) -> list[str]:
    history = row.history()
    whole = live(history)
    return sorted({ASKS[row.asks](image, whole) for image in images(history, model, bounds=FEW)})


def _content(data: bytes, whole: bytes) -> str:
    if data == whole:
        return "OK"
    if not data:
        return "EMPTY"
    return "zeros" if len(data) == len(whole) and not data.strip(b"\0") else "OTHER"


def _file(image: Image, whole: Image) -> str:
    found = image.directory("spool").get("m")
    return f"{found.mode:o} {_content(found.data, whole.directory('spool')['m'].data)}" if found else "none"


def _place(image: Image, _whole: Image) -> str:
    spool, bad = "m" in image.directory("spool"), "m" in image.directory("bad")
    return {(1, 1): "both", (1, 0): "spool", (0, 1): "bad", (0, 0): "LOST"}[(spool, bad)]


def _back(image: Image, _whole: Image) -> str:
    return "back" if "m" in image.directory("spool") else "gone"


def _tail(image: Image, whole: Image) -> str:
    data, all_of_it = image.directory("spool")["m"].data, whole.directory("spool")["m"].data
    if len(data) == len(all_of_it) and data != all_of_it:
        return "zeros" if not data[100:].strip(b"\0") else "OTHER"
    return "OK" if data == all_of_it else "short"


ASKS = {"file": _file, "place": _place, "back": _back, "tail": _tail}


def _same(cell: str) -> tuple[str, ...]:
    return (cell,) * len(COLUMNS)


_WROTE = "creat m; write m 3 blocks"
_OTHER = "creat o; write o 1 block; fsync o"
_OLD = f"{_WROTE}; chmod m; syncfs"
_OLD_OTHER = "creat o; write o 1 block; syncfs"
_MOVED = "rename m bad/m"
ROWS = (
    Row("T1", _WROTE, _same("none")),
    Row("T2", f"{_WROTE}; fsync m", _same("644 OK")),
    Row("T3", f"{_WROTE}; fsync m; chmod m", _same("644 OK")),
    Row("T4", f"{_WROTE}; chmod m; fsync m", _same("755 OK")),
    Row("T4d", f"{_WROTE}; fsync m; chmod m; fsync spool", (*("755 OK",) * 5, "644 OK", "644 OK")),
    Row("D", f"{_WROTE}; fsync m; chmod m; fsync m", _same("755 OK")),
    Row("Df", f"{_WROTE}; fdatasync m; chmod m; fdatasync m", (*("644 OK",) * 4, *("755 OK",) * 3)),
    Row("Ds", f"{_WROTE}; fsync m; chmod m", _same("644 OK")),  # O_SYNC: as if each write were followed by an fsync
    Row("T5", _MOVED, _same("spool"), _OLD, "place"),
    Row("T5b", f"{_MOVED}; fsync bad", ("bad", "bad", "bad", "bad", "both", "bad", "both"), _OLD, "place"),
    Row("T5s", f"{_MOVED}; fsync spool", ("bad", "bad", "bad", "bad", "LOST", "bad", "bad"), _OLD, "place"),
    Row("T5f", f"{_MOVED}; fsync bad/m", ("bad", "bad", "bad", "bad", "both", "bad", "both"), _OLD, "place"),
    Row("T5fd", f"{_MOVED}; fdatasync bad/m", (*("spool",) * 4, "both", "bad", "bad"), _OLD, "place"),
    Row("T5bs", f"{_MOVED}; fsync bad; fsync spool", _same("bad"), _OLD, "place"),
    Row("T6", "unlink m", _same("back"), _OLD, "back"),
    Row("T6d", "unlink m; fsync spool", _same("gone"), _OLD, "back"),
    Row(
        "T8",
        f"{_WROTE}; chmod m; {_OTHER}",
        ("755 EMPTY", "755 OK", "755 OK", "755 OK", "755 OTHER", "755 EMPTY", "none"),
    ),
    Row(
        "T10",
        f"creat t; write t 3 blocks; rename t m; {_OTHER}",
        ("644 EMPTY", "644 OK", "644 OK", "644 OK", "644 OTHER", "644 EMPTY", "none"),
    ),
    Row(
        "T11",
        "creat t; write t 3 blocks; link t m; unlink t; fsync spool",
        ("644 EMPTY", "644 OK", "644 OK", "644 OK", "644 OTHER", "644 EMPTY", "644 EMPTY"),
    ),
    Row(
        "T13",  # a commit may have come by itself
        f"{_WROTE}; chmod m",
        ("755 EMPTY", "755 OK", "755 OK", "755 OK", "none", "none", "none"),
        wait_s=8,
    ),
    Row("U", f"{_WROTE}; fsync o", (*("none",) * 4, "644 OTHER", "none", "none"), _OLD_OTHER),
    Row("Ud", f"{_WROTE}; fsync bad", ("644 EMPTY", *("644 OK",) * 3, *("none",) * 3), _OLD_OTHER),
    Row("L", "link m bad/m; fdatasync m", (*("spool",) * 4, *("both",) * 3), _OLD, "place"),
    Row("Z", _WROTE, ("644 zeros", *("none",) * 6), within="syncfs"),
    Row(
        "T14",  # both writes fall into one block
        f"write m 100; {_OTHER}",
        ("zeros", "zeros", "OK", "zeros", "zeros", "short", "short"),
        "creat m; write m 100; fsync m",
        "tail",
    ),
    Row(
        "F",  # the disk failed one write; the second fsync says 0, and reading shows the bytes
        f"{_WROTE}; fail fsync m; fsync m",
        ("644 zeros", "644 OTHER", NOT_MEASURED, "644 OTHER", "644 OTHER", "644 EMPTY", "644 zeros"),
    ),
)


def seen_table() -> list[str]:
    """What was seen, as lines of Markdown."""
    lines = [f"| # | calls, then the power cut | {' | '.join(COLUMNS)} |", "|" + "---|" * (len(COLUMNS) + 2)]
    for row in ROWS:
        durable = row.before.partition(" ")[2][:1]
        calls = f"({durable} is durable) {row.calls}" if durable else row.calls
        calls += f"; within {row.within}" if row.within else f"; {row.wait_s} s" if row.wait_s else ""
        lines.append(f"| {row.id} | {calls} | {' | '.join(row.seen)} |")
    return lines


def models_table() -> list[str]:
    """What the models allow, as lines of Markdown; what was seen on that file system is in bold."""
    names = [name for name in MODELS if name != "process-crash"]
    lines = [f"| # | {' | '.join(names)} |", "|" + "---|" * (len(names) + 1)]
    for row in ROWS:
        cells = []
        for name in names:
            seen = {cell for model, cell in row.cells() if model == name}
            cells.append(", ".join(f"**{word}**" if word in seen else word for word in row.allowed(name)))
        lines.append(f"| {row.id} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    print("\n".join([*seen_table(), "", *models_table()]))
