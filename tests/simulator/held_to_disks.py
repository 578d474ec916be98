"""The models held against real file systems: is every state that one can be found in a state of its model?

    python tests/simulator/held_to_disks.py [--states N] [--histories N] [--seed N] [--without] [--wait] [FILE SYSTEM …]

Plays the rows of the truth table, histories made by chance, and what the reference did in the simulated world, on real
file systems that stand on a disk which remembers (`real_disk`). Prints what each row left, as docs/durability.md has
it, and each state that the models do not have; and, where asked, what the reference loses without one of its fsyncs.
As root.

Exit status: 0 there is none, and the reference broke no promise; 1 some; 69 this machine cannot.
"""

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from allowed import Allowed
from history_script import Script, script
from real_disk import FILE_SYSTEMS, Machine, Played, leave_the_machines_mounts
from simulate_page import FSYNCS
from smap_simulator.check import Judge, violations
from smap_simulator.crash import CrashState, live
from smap_simulator.history import Create, History, Link, Mkdir, Rename
from smap_simulator.image import ROOT, Image
from smap_simulator.models import MODELS
from smap_simulator.mutants import loaded
from smap_simulator.programs import Programs, load
from smap_simulator.scenario import NAMED
from smap_simulator.world import run
from truth_table import ASKS, NOT_MEASURED, ROWS


@dataclass(slots=True)
class Found:
    """What was found of some histories on one file system."""

    states: int = 0
    distinct: int = 0
    strange: list[str] = field(default_factory=list)  # in no model
    broken: list[str] = field(default_factory=list)  # guarantees of the spool
    cells: dict[str, str] = field(default_factory=dict)  # row -> what it left where every write had come to the disk

    def add(self, other: "Found") -> None:
        """Count what was found of other histories, too."""
        self.states += other.states
        self.distinct += other.distinct
        self.strange += other.strange
        self.broken += other.broken


# Histories

_CALLS = (
    "creat {f}", "write {f} {n}", "write {f} {n}", "write {f} {b} blocks", "write {f} {n} at 0", "trunc {f} {n}",
    "chmod {f}", "chown {f} 7", "rename {f} {g}", "link {f} {g}", "unlink {f}",
    "fsync {f}", "fsync {f}", "fdatasync {f}", "fsync spool", "fsync bad", "syncfs",
)  # fmt: skip
_NAMES = ("m", "n", "bad/m", "bad/n")


def by_chance(seed: int, calls: int = 9) -> list[str]:
    """A script of a few calls on a few files, such as nobody would write."""
    chance = random.Random(seed)
    made = Script()
    texts: list[str] = []
    while len(texts) < calls:
        there = [name for name in _NAMES if _is_there(made, name)]
        form, file, other = chance.choice(_CALLS), chance.choice(_NAMES), chance.choice(_NAMES)
        if "{f}" in form and (file in there) == form.startswith("creat"):
            continue
        if "{g}" in form and (other in there or other == file):
            continue
        text = form.format(f=file, g=other, n=chance.choice((1, 100, 600, 5000)), b=chance.choice((1, 2)))
        made.run(text)
        texts.append(text)
    return texts


def _is_there(made: Script, name: str) -> bool:
    try:
        made.inode(name)
    except KeyError:
        return False
    return True


# Looking

WORST = ("644 zeros", "644 OTHER", "644 EMPTY", "none")  # of what a call that had only begun may leave
SCENARIOS = ("one message", "two messages in one session", "permanent failure")


def rows(machine: Machine, *, states: int, seed: int, patient: bool = False) -> Found:
    """The rows of the truth table; those that wait only for who is patient."""
    found = Found()
    for row in ROWS:
        if row.id == "F" and machine.file_system.name == "ext4 journal":
            continue  # the journal is what cannot be written then, and the file system goes read-only
        history = row.begun()
        played = machine.play(history, wait_s=row.wait_s if patient else 0)
        looked = _held(found, machine, played, row.id, states=states, seed=seed)
        if row.within:
            cells = {ASKS[row.asks](image, live(history)) for events, image in looked if events < len(history.events)}
            found.cells[row.id] = next(each for each in WORST if each in cells)
        elif patient or not row.wait_s:
            found.cells[row.id] = ASKS[row.asks](machine.image(played.all()), live(history))
    return found


def chance(machine: Machine, count: int, *, states: int, seed: int) -> Found:
    """Histories made by chance. Of one with a state that no model has, the fewest calls are told that leave one."""
    found = Found()
    for number in range(seed, seed + count):
        texts = by_chance(number)
        one = _tried(machine, texts, states=states, seed=seed)
        assert one is not None
        found.add(one)
        if one.strange:
            found.strange[-len(one.strange) :] = [_fewest(machine, texts, one, states=states, seed=seed)]
    return found


def _tried(machine: Machine, texts: list[str], *, states: int, seed: int) -> Found | None:
    """None where a call needs one that is not there any more."""
    found = Found()
    try:
        played = machine.play(script("; ".join(texts)))
    except (KeyError, FileExistsError):
        return None
    _held(found, machine, played, "; ".join(texts), states=states, seed=seed)
    return found


def _fewest(machine: Machine, texts: list[str], found: Found, *, states: int, seed: int) -> str:
    at = 0
    while at < len(texts):
        fewer = texts[:at] + texts[at + 1 :]
        one = _tried(machine, fewer, states=states, seed=seed) if fewer else None
        if one is not None and one.strange:
            texts, found = fewer, one
        else:
            at += 1
    return found.strange[0]


def spool(machine: Machine, programs: Programs, scenario: str, *, states: int, seed: int) -> Found:
    """What programs did in the simulated world, and whether what is left keeps what they had promised."""
    found = Found()
    history = run(NAMED[scenario], programs).history
    judge = Judge(history)
    for events, image in _held(found, machine, machine.play(history), scenario, states=states, seed=seed):
        known = _renumbered(history, image)
        state = CrashState("", machine.file_system.models[0], events, known, "")
        told = (
            f"{scenario}: after {events} events: {each.word}, {each.sentence}: {'; '.join(known.describe())}"
            for each in violations(judge.case(state, None))
        )
        found.broken += [each for each in told if each not in found.broken]
    return found


def _renumbered(history: History, image: Image) -> Image:
    """The image with the history's inode numbers, which are known by names that never come twice."""
    numbers: dict[int, int] = {ROOT: ROOT}
    known = {
        (inode, name): named for inode, node in history.start.nodes.items() for name, named in node.entries.items()
    }
    for event in history.events:
        match event:
            case Create() | Mkdir() | Link():
                known[event.directory, event.name] = event.inode
            case Rename():
                known[event.new_directory, event.new_name] = event.inode
            case _:
                pass
    found = {ROOT: image.nodes[ROOT]}
    for path, inode in image.walk():
        if path:
            directory, _, name = path.rpartition("/")
            parent = image.at(directory)
            assert parent is not None
            numbers[inode] = known[numbers[parent], name]
            found[numbers[inode]] = image.nodes[inode]
    return Image(
        {
            number: replace(node, entries={name: numbers[child] for name, child in node.entries.items()})
            for number, node in found.items()
        }
    )


def _held(
    found: Found, machine: Machine, played: Played, name: str, *, states: int, seed: int
) -> list[tuple[int, Image]]:
    """Hold every state that is looked at against the models, and return them."""
    allowed = [Allowed(played.history, model) for model in machine.file_system.models]
    looked = list(machine.images(played, states=states, seed=seed))
    found.states += len(looked)
    found.distinct += len({(events, image.digest()) for events, image in looked})
    for events, image in looked:
        for model in allowed:
            for strange in model.strange(events, image):
                line = f"{name}: after {events} calls: {strange}"
                if line not in found.strange:
                    found.strange.append(line)
    return looked


# The program


def _report(name: str, place: Path, arguments: argparse.Namespace) -> tuple[Found, dict[str, str]]:
    """Everything on one file system; for each fsync of the reference, the word of what it costs to be without it."""
    states, seed = arguments.states, arguments.seed
    costs = {}
    file_system = FILE_SYSTEMS[name]
    if arguments.model:
        file_system = replace(file_system, models=(arguments.model,))
    with Machine(file_system, place) as machine:
        found = rows(machine, states=states, seed=seed, patient=arguments.wait)
        found.add(chance(machine, arguments.histories, states=states, seed=seed))
        for scenario in SCENARIOS:
            found.add(spool(machine, load(), scenario, states=states, seed=seed))
        for guarantee, mutant in FSYNCS.items() if arguments.without else ():
            with loaded(mutant) as programs:
                without = Found()
                for scenario in SCENARIOS:
                    without.add(spool(machine, programs, scenario, states=states, seed=seed))
            found.strange += without.strange
            words = {line.split(": ")[2].partition(",")[0] for line in without.broken}
            costs[guarantee] = " ".join(sorted(words)) or "-"
    return found, costs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file_systems", nargs="*", metavar="FILE SYSTEM", help=f"of {', '.join(FILE_SYSTEMS)}")
    parser.add_argument("--states", type=int, default=60, help="about so many power cuts of each history")
    parser.add_argument("--histories", type=int, default=100, help="so many histories made by chance")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", choices=MODELS, help="hold them against this model, and not against their own")
    parser.add_argument("--without", action="store_true", help="try the reference without each of its fsyncs, too")
    parser.add_argument("--wait", action="store_true", help="play the row that waits, too")
    arguments = parser.parse_args()
    for name in arguments.file_systems:
        if name not in FILE_SYSTEMS:
            parser.error(f"no file system {name}; there are {', '.join(FILE_SYSTEMS)}")
    names = arguments.file_systems or list(FILE_SYSTEMS)
    try:
        leave_the_machines_mounts()
        reports = {}
        for name in names:
            with tempfile.TemporaryDirectory() as place:
                reports[name] = _report(name, Path(place), arguments)
            found, _ = reports[name]
            print(
                f"{name}: {found.states} power cuts, {found.distinct} distinct states: "
                f"{len(found.strange)} in no model, {len(found.broken)} break a promise of the reference",
                file=sys.stderr,
            )
            for line in (*found.strange, *found.broken):
                print(f"  {line}", file=sys.stderr)
    except OSError as error:
        print(f"held_to_disks: {error}", file=sys.stderr)
        return os.EX_UNAVAILABLE
    print("\n".join(_table("row", {name: found.cells for name, (found, _) in reports.items()})), end="\n\n")
    if arguments.without:
        print("\n".join(_table("without", {name: costs for name, (_, costs) in reports.items()})))
    return 1 if any(found.strange or found.broken for found, _ in reports.values()) else 0


def _table(what: str, columns: dict[str, dict[str, str]]) -> Iterator[str]:
    yield f"| {what} | {' | '.join(columns)} |"
    yield "|" + "---|" * (len(columns) + 1)
    for row in dict.fromkeys(key for column in columns.values() for key in column):
        yield f"| {row} | {' | '.join(column.get(row, NOT_MEASURED) for column in columns.values())} |"


if __name__ == "__main__":
    sys.exit(main())
