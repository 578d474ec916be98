"""What the target's smapd makes of what a crash left: remnants by the hundred in one spool, one start of smapd.

`recover` lays them side by side, disguised (see `remnant`), lets smapd look at them twice at least, and tells for each
what the mailer was given and where its files are then, in the words of the recording: as if it had lain there alone.
Where a smapd does not take disguised files, or nobody can tell whose a mailer's run was, the remnant is laid down
alone and undisguised.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from smap_conformance import offspring, spool
from smap_conformance.expect import miss
from smap_conformance.lab import Lab
from smap_conformance.mailer import Run
from smap_conformance.place import Place, Smapd
from smap_conformance.remnant import BADDIR, SPOOL, Disguise, Left, Remnant, number_in
from smap_conformance.scans import watching

SCANS = 3  # smapd is started afterwards, so the first two of these looks are whole scans


@dataclass(frozen=True, slots=True)
class Given:
    """One run of the mailer: its arguments, what it read, its exit status."""

    argv: tuple[str, ...]
    read: bytes
    status: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a remnant. `alone`: it was laid down as the crash had left it, with nothing beside it."""

    runs: tuple[Given, ...]
    left: tuple[Left, ...]
    alone: bool = False

    @property
    def names(self) -> set[tuple[str, str]]:
        """The names that are there in the end."""
        return {(left.place, left.path) for left in self.left}


@dataclass(frozen=True)
class Laid:
    """A remnant on the disk: its disguise, and which file has which number."""

    remnant: Remnant
    disguise: Disguise
    numbers: Mapping[int, int]  # inode on the real disk -> number


def recover(lab: Lab, remnants: Sequence[Remnant], made: Sequence[str]) -> dict[str, Outcome]:
    """The outcome of each, by digest. `made` are the names of the recording: see `remnant.names_made`."""
    disguises = [Disguise.of(remnant, number, made) for number, remnant in enumerate(remnants, 1)]
    with lab.place() as place:
        laid = [lay(place, *each) for each in zip(remnants, disguises, strict=True)]
        scanned(place, len(remnants))
        return outcomes(place, laid)


def recover_alone(lab: Lab, remnant: Remnant) -> Outcome:
    """The outcome of one, with the very names and bytes that the crash left."""
    with lab.place() as place:
        laid = lay(place, remnant, Disguise(0, {}))
        scanned(place, 1)
        return replace(outcomes(place, [laid])[remnant.digest], alone=True)


def lay(place: Place, remnant: Remnant, disguise: Disguise) -> Laid:
    """Put the files there; the mark last, as smap does."""
    numbers: dict[int, int] = {}
    first: dict[int, Path] = {}
    for left in remnant.files:
        path = (place.spool if left.place == SPOOL else place.baddir) / disguise.path(left.path)
        if left.number in first:
            os.link(first[left.number], path)
            continue
        first[left.number] = path
        make_way(place, path.parent)
        path.write_bytes(disguise.put_on(left.data))
        own(path, left.uid, left.gid)
        path.chmod(left.mode)
        numbers[path.stat().st_ino] = left.number
    return Laid(remnant, disguise, numbers)


def make_way(place: Place, directory: Path) -> None:
    """Directories below the spool that the target would have made."""
    if not directory.exists():
        make_way(place, directory.parent)
        directory.mkdir()
        own(directory, place.sandbox.user.uid, place.sandbox.user.gid)


def own(path: Path, uid: int, gid: int) -> None:
    """Give it to its owner, where that can be done; without root everything is the target's user's anyway."""
    with contextlib.suppress(OSError):
        os.chown(path, uid, gid)


def scanned(place: Place, laid: int) -> None:
    """Start smapd, and come back when it has scanned the spool, surely twice, and nothing moves any more."""
    with watching(place.spool) as scans:
        smapd = place.start_smapd()
        steadily(place, f"{SCANS} scans of the spool directory", lambda: scans.count() >= SCANS, laid)
    over(place, smapd, laid)


def over(place: Place, smapd: Smapd, deliveries: int) -> None:
    """Wait until smapd has no delivery under way, and end it."""

    def is_idle() -> bool:
        below = [pid for daemon in smapd.daemons() for pid in offspring.descendants(daemon)]
        return not any(map(offspring.alive, below))

    steadily(place, "an end of its deliveries", is_idle, deliveries)
    smapd.kill()


def steadily(place: Place, acceptable: str, ready: Callable[[], bool], deliveries: int) -> None:
    """Wait for smapd, as long as it goes on delivering; but not for ever: it has so many deliveries to make."""
    record = place.mailer.directory / "record"
    for _ in range(2 * deliveries + 2):
        before = sum(1 for _ in record.iterdir())
        place.wait("smapd", acceptable, lambda: ready() or sum(1 for _ in record.iterdir()) > before)  # noqa: B023
        if ready():
            return
    miss("smapd", f"{acceptable}, for {deliveries} files at the most", f"{len(place.mailer.runs())} runs of the mailer")


# Looking


def outcomes(place: Place, laid: Sequence[Laid]) -> dict[str, Outcome]:
    """What became of each; a run of the mailer, or a file, that nobody's token or name is in belongs to none."""
    files = [*files_below(SPOOL, place.spool), *files_below(BADDIR, place.baddir)]
    found = {}
    for each in laid:
        runs = [run for run in place.mailer.runs() if number_of(run) == each.disguise.number]
        given = tuple(as_recorded(run, each.disguise) for run in runs)
        left = tuple(sorted(left_of(each, files)))
        found[each.remnant.digest] = Outcome(given, left)
    return found


def number_of(run: Run) -> int:
    """The number of the remnant that a mailer's run is of: whose token is in its arguments, or else in its input."""
    return number_in(" ".join(run.argv[1:]).encode("latin-1")) or number_in(run.input)


def as_recorded(run: Run, disguise: Disguise) -> Given:
    """A run in the words of the recording."""
    argv = tuple(disguise.take_off(word.encode("latin-1")).decode("latin-1") for word in run.argv)
    return Given(argv, disguise.take_off(run.input), run.ends.get("exit_status", 0))


@dataclass(frozen=True, slots=True)
class Found:
    """A file as it lies there now."""

    place: str
    path: str
    inode: int
    mode: int
    uid: int
    gid: int
    data: bytes


def files_below(place: str, directory: Path) -> list[Found]:
    """Every regular file in a directory and below."""
    found = []
    for path in sorted(directory.rglob("*")):
        looked = spool.look(path)
        if looked is not None and looked.kind == "file":
            name = str(path.relative_to(directory))
            found.append(Found(place, name, looked.inode, looked.mode, looked.uid, looked.gid, path.read_bytes()))
    return found


def left_of(laid: Laid, files: Iterable[Found]) -> Iterable[Left]:
    """The files of one remnant among all: those that were laid down, and what smapd may have made of them."""
    new = len(laid.numbers)
    back = {shown: name for name, shown in laid.disguise.names.items()}
    for file in files:
        number = laid.numbers.get(file.inode)
        if number is None:
            if not (laid.disguise.number == 0 or laid.disguise.is_of(file.path)):
                continue
            number, new = new, new + 1
        path = file.path
        for shown, name in back.items():
            path = path.replace(shown, name)
        data = laid.disguise.take_off(file.data)
        yield Left(file.place, path, number, file.mode, file.uid, file.gid, data)
