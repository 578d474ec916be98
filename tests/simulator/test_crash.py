"""Ids and states, enumeration against brute force, cuts, minimal omissions: on histories that hypothesis draws."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import product

import pytest
from history_script import Script, images, script
from hypothesis import given, settings
from hypothesis import strategies as st
from smap_simulator.check import Case, violations
from smap_simulator.contents import Bounds
from smap_simulator.crash import Crashes, CrashState, IdError, live, state
from smap_simulator.factor import parts
from smap_simulator.history import History, Write
from smap_simulator.image import FILE, ROOT, Image, Node
from smap_simulator.models import MODELS
from smap_simulator.omission import explain, minimise

FEW = Bounds(bad_blocks=1, places=3, torn=3)
NAMES = ("m", "n", "bad/m")
DISKS = [name for name in MODELS if name != "process-crash"]


@st.composite
def histories(draw: st.DrawFn, most: int = 10) -> History:
    """Any order of calls that a kernel would let through, on a spool that holds a file already."""
    old = Image(
        {
            ROOT: Node("directory", 0o755, entries={"spool": 2, "bad": 3}),
            2: Node("directory", 0o755, entries={"n": 4}),
            3: Node("directory", 0o755),
            4: Node(FILE, 0o755, b"long there\n" * 60),
        }
    )
    made = Script(old)
    there = {"n"}
    for _ in range(draw(st.integers(0, most))):
        calls = [f"creat {name}" for name in NAMES if name not in there]
        calls += [f"{sync} {directory}" for sync in ("fsync", "fail fsync") for directory in ("spool", "bad")]
        for name in sorted(there):
            calls += [f"write {name} {size}" for size in (10, 700, 5000)] + [
                f"write {name} 600 at 0",
                f"trunc {name} 9",
            ]
            calls += [f"chmod {name}", f"chmod {name} 644", f"unlink {name}", f"fsync {name}", f"fdatasync {name}"]
            calls += [f"fail fsync {name}"]
            calls += [f"rename {name} {new}" for new in NAMES if new != name]
            calls += [f"link {name} {new}" for new in NAMES if new not in there]
        call = draw(st.sampled_from([*calls, "reply one", "exit 0", "syncfs"]))
        made.run(call)
        words = call.split()
        if words[0] in ("creat", "link", "rename"):
            there.add(words[-1])
        if words[0] in ("unlink", "rename"):
            there.discard(words[1])
    return made.history()


@settings(max_examples=60)
@given(histories(), st.sampled_from(sorted(MODELS)))
def test_each_id_names_one_state_and_the_state_names_the_id(history: History, model: str) -> None:
    crashes = Crashes(history, model)
    ids = list(crashes.ids(FEW))
    assert len(ids) == len(set(ids))
    for id_ in ids[:: max(1, len(ids) // 40)]:
        assert state(history, id_).id == id_
        assert id_.isascii()
        assert not set(id_) & set(" '\"$`\\|&;<>()*?[]{}!#~")  # safe in a shell, unquoted


@settings(max_examples=60)
@given(histories(), st.sampled_from(sorted(MODELS)))
def test_every_state_can_be_explained_and_ends_with_what_programs_saw_at_most(history: History, model: str) -> None:
    crashes = Crashes(history, model)
    for id_ in list(crashes.ids(FEW))[::7]:
        found = crashes.state(id_)
        assert {effect.event for effect in found.omitted} <= set(range(found.cut))
        lines = explain(crashes, found)
        assert [line.number for line in lines if line.durable == "NO"] == [
            number
            for number in sorted({effect.event for effect in found.omitted})
            if number not in {effect.event for effect in found.durable}
        ]
        if not found.omitted and not found.torn_bytes:
            assert found.image.digest() == live(history, found.cut).digest()


# Against brute force


def _subsets(crashes: Crashes, cut: int) -> Iterator[int]:
    pending = crashes.pending(cut)
    return (mask for mask in range(pending.all + 1) if pending.is_possible(mask))


def _of_part(image: Image, names: list[tuple[int, str]], inodes: tuple[int, ...]) -> tuple[object, ...]:
    """What a program can see of one part: its names, and the files that they and other names lead to."""
    named = {(at, name): image.nodes[at].entries.get(name) for at, name in names if at in image.nodes}
    seen = {inode for node in image.nodes.values() for inode in node.entries.values()}
    nodes = [(inode, repr(image.nodes[inode])) for inode in inodes if inode in seen]
    return tuple(sorted(named.items())), tuple(nodes)


@settings(max_examples=60)
@given(histories(most=6), st.sampled_from(DISKS))
def test_the_sum_over_parts_leaves_out_no_state_of_any_part(history: History, model: str) -> None:
    crashes = Crashes(history, model)
    for cut in crashes.cuts():
        pending = crashes.pending(cut)
        if len(pending.groups) > 11:
            continue
        brute = [crashes.build(cut, (mask, ())).image for mask in _subsets(crashes, cut)]
        quick = [crashes.build(cut, choice).image for choice in crashes.choices(cut) if not choice[1]]
        for part in parts(pending):
            effects = [effect for effect in pending.effects if effect.inode in part.inodes]
            names = sorted({(effect.directory, str(effect.place[2])) for effect in effects if effect.directory})
            all_of_it = {_of_part(image, names, part.inodes) for image in brute}
            assert {_of_part(image, names, part.inodes) for image in quick} == all_of_it


@settings(max_examples=40)
@given(histories(most=5), st.sampled_from(["strict-posix", "ext4-writeback", "ext4-ordered"]))
def test_every_mixture_of_bad_blocks_is_enumerated_where_the_bounds_let_it(history: History, model: str) -> None:
    crashes = Crashes(history, model)
    cut = len(history.events)
    pending, contents = crashes.pending(cut), crashes.contents(cut)
    if len(pending.groups) > 8 or len(pending.loose) > 3:
        return
    brute: dict[int, set[str]] = {}
    for mask in _subsets(crashes, cut):
        looks = [[None, *contents.looks(place, mask)] for place in pending.loose]
        for chosen in product(*looks):
            image = crashes.build(cut, (mask, tuple(bad for bad in chosen if bad))).image
            for inode, node in image.nodes.items():
                brute.setdefault(inode, set()).add(repr(node.data))
    quick: dict[int, set[str]] = {}
    for choice in crashes.choices(cut, Bounds(bad_blocks=4, places=1000)):
        for inode, node in crashes.build(cut, choice).image.nodes.items():
            quick.setdefault(inode, set()).add(repr(node.data))
    assert quick == brute


@settings(max_examples=60)
@given(histories(most=8), st.sampled_from(DISKS))
def test_the_cuts_between_the_cuts_leave_nothing_new(history: History, model: str) -> None:
    """Before a barrier, what could have been earlier still can be: so it is enough to cut there."""
    crashes = Crashes(history, model)
    bounds = Bounds(bad_blocks=2, places=1000)

    def found(cuts: Iterator[int]) -> set[tuple[str, int, str]]:
        return {
            (each.said, inode, repr(node))
            for cut in cuts
            for each in crashes.states(cut, bounds)
            for inode, node in each.image.nodes.items()
            if node.kind == FILE
        }

    if len(history.events) and max(len(crashes.pending(cut).loose) for cut in crashes.cuts()) <= 2:
        assert found(iter(range(len(history.events) + 1))) == found(iter(crashes.cuts()))


def test_independent_messages_are_a_sum_and_not_a_product() -> None:
    def count(messages: int) -> int:
        text = "; ".join(f"creat m{n}; write m{n} 2000; chmod m{n}" for n in range(messages))
        history = script(text)
        return sum(1 for _ in Crashes(history, "strict-posix").choices(len(history.events)))

    one = count(1)
    assert count(5) == 5 * (one - 1) + 1


# Process crash


def test_a_sigkill_tears_a_write_at_any_byte() -> None:
    history = script("creat m; write m 5; write m 7")
    crashes = Crashes(history, "process-crash")
    found = {}
    for each in crashes.distinct(Bounds(torn=1000)):
        node = each.image.directory("spool").get("m")
        found[each.id] = node.data if node else None
    whole = live(history).directory("spool")["m"].data
    assert list(found.values()) == [None, *(whole[:size] for size in range(len(whole) + 1))]


def test_a_torn_write_that_stands_where_something_stood_keeps_the_rest() -> None:
    history = script("write m 8 at 2", before="creat m; write m 20")
    image = Crashes(history, "process-crash").state("process-crash:c0:b3").image
    old, new = history.start.directory("spool")["m"].data, history.events[0]
    assert isinstance(new, Write)
    assert image.directory("spool")["m"].data == old[:2] + new.data[:3] + old[5:]


# Crash upon crash


def test_an_id_of_two_parts_names_a_crash_in_the_recovery() -> None:
    first = script("creat m; write m 9; chmod m; fsync m")
    one = Crashes(first, "ext4-ordered").state("ext4-ordered:c3:0b111")
    second = Script(one.image).run("unlink m").history()
    found = state([first, second], f"{one.id}/ext4-ordered:c1:0b0")
    assert found.image.digest() == one.image.digest()
    assert found.image.nodes.keys() == one.image.nodes.keys()
    with pytest.raises(IdError, match="does not begin"):
        state([first, second], "ext4-ordered:c3:0b000/ext4-ordered:c1:0b0")
    with pytest.raises(IdError, match="2 crashes"):
        state([first], f"{one.id}/ext4-ordered:c1:0b0")


# Ids that name nothing


@pytest.mark.parametrize(
    ("id_", "why"),
    [
        ("nonsense", "not an id"),
        ("fat32:c1", "no model fat32"),
        ("ext4-ordered:c99", "has 3 events"),
        ("ext4-ordered:c" + "9" * 5000, "not an id"),
        ("process-crash:c1:b" + "9" * 5000, "nothing is open"),
        ("strict-posix:c3:0b111:i" + "9" * 5000 + "z", "nothing is open"),
        ("ext4-ordered:c3:0b11", "3 operations are open"),
        ("ext4-ordered:c3:0b011", "not a state that ext4-ordered can leave"),
        ("ext4-ordered:c3:0b111:7.0s", "no write is open at 7.0"),
        ("ext4-nodelalloc:c3:0b111:1.0z", "nothing is open"),
        ("strict-posix:c3:0b100:1.0z", "cannot look so"),
        ("strict-posix:c3:0b111:1.9z", "nothing is open"),
        ("strict-posix:c3:0b101:1.0s", "the id of that state is"),
        ("process-crash:c1:b700", "no write of more than 700 bytes"),
        ("process-crash:c0:b1", "no write"),
        ("strict-posix:c1:b1", "no write"),
    ],
)
def test_an_id_that_names_nothing_is_told_why(id_: str, why: str) -> None:
    with pytest.raises(IdError, match=why):
        state(script("creat m; write m 700; chmod m"), id_)


# Minimal omissions


@settings(max_examples=50)
@given(histories(), st.sampled_from(DISKS), st.data())
def test_a_minimal_state_still_does_it_and_no_omission_can_be_spared(
    history: History, model: str, data: st.DataObject
) -> None:
    crashes = Crashes(history, model)
    ids = [id_ for id_ in crashes.ids(FEW) if crashes.state(id_).omitted]
    if not ids:
        return
    id_ = data.draw(st.sampled_from(ids))
    start = crashes.state(id_)
    victim = data.draw(st.sampled_from(sorted({effect.event for effect in start.omitted})))

    def holds(each: CrashState) -> bool:
        return any(effect.event == victim for effect in each.omitted)

    least = crashes.state(minimise(crashes, id_, holds))
    assert holds(least)
    assert len(least.omitted) <= len(start.omitted)
    cut, (durable, bad), _ = crashes.read(least.id)
    pending, contents = crashes.pending(cut), crashes.contents(cut)
    for group in range(len(pending.groups)):
        if not durable >> group & 1:
            more = durable | pending.needs[group] | 1 << group
            kept = tuple(each for each in bad if each in contents.looks(pending.effects[each.at].place, more))
            assert not holds(crashes.build(cut, (more, kept)))
    for each in bad:
        assert not holds(crashes.build(cut, (durable, tuple(other for other in bad if other != each))))


def test_a_minimal_torn_write_is_no_torn_write_if_it_need_not_be() -> None:
    history = script("creat m; write m 10")
    crashes = Crashes(history, "process-crash")
    assert minimise(crashes, "process-crash:c1:b5", lambda each: "m" in each.image.directory("spool")) == (
        "process-crash:c1"
    )
    half = minimise(crashes, "process-crash:c1:b5", lambda each: each.image.directory("spool")["m"].data != b"")
    assert half == "process-crash:c1:b5"


# Determinism

_PRINT = """
import sys
sys.path.insert(0, sys.argv[1])
from history_script import script
from smap_simulator.crash import Crashes
from smap_simulator.models import MODELS
text = "creat m; write m 700; creat n; chmod m; write n 5000; rename n bad/n; fsync bad; link m k; unlink m; reply one"
for model in MODELS:
    for state in Crashes(script(text), model).distinct():
        print(state.id, state.digest)
"""


def test_the_same_states_in_the_same_order_whatever_the_hash_seed() -> None:
    here = str(__file__).rpartition("/")[0]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", _PRINT, here], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(outputs) == 1
    assert outputs.pop().count(b"\n") > 500


# An engine of another kind: a file system that runs, flushes and commits at random, and is cut off


@st.composite
def _runs(draw: st.DrawFn) -> tuple[History, Image]:
    """A history, and what an ordered journal that worked on it by chance had on the disk at the end."""
    text = ["creat m", "write m 5000", "chmod m", "creat n", "write n 5000", "fsync n", "rename m bad/m", "chmod n"]
    made = Script().run("; ".join(text[: draw(st.integers(1, len(text)))]))
    history = made.history()
    volatile: dict[int, int] = {}  # how many bytes of each file have been written back
    committed = history.start
    for at in range(len(history.events)):
        event, seen = history.events[at], live(history, at + 1)
        for inode, node in seen.nodes.items():
            if node.kind == FILE and draw(st.booleans()):
                blocks = draw(st.integers(0, 2))
                volatile[inode] = max(volatile.get(inode, 0), min(len(node.data), blocks * 4096))
        if type(event).__name__ == "Fsync":
            inode = event.inode  # type: ignore[attr-defined]
            volatile[inode] = len(seen.nodes[inode].data)
        if type(event).__name__ == "Fsync" or draw(st.booleans()):
            committed = Image(
                {
                    inode: Node(node.kind, node.mode, node.data[: volatile.get(inode, 0)], node.entries)
                    for inode, node in seen.nodes.items()
                }
            )
    return history, committed


@settings(max_examples=40)
@given(_runs())
def test_an_ordered_journal_that_runs_leaves_only_states_of_the_model(run: tuple[History, Image]) -> None:
    history, left = run
    crashes = Crashes(history, "ext4-ordered")
    cut = len(history.events)
    possible = {crashes.build(cut, (mask, ())).image.digest() for mask in _subsets(crashes, cut)}
    assert left.digest() in possible


def test_states_of_one_message_are_judged_alike_whoever_else_is_there() -> None:
    """The sum over parts is enough for the oracle: what it says of one message depends on that message."""
    alone = script("creat m; write m 600; chmod m; fsync spool; reply one")
    among = script("creat n; write n 90; creat m; write m 600; chmod m; fsync spool; reply one")

    def words(history: History) -> set[str]:
        return {
            each.word
            for found in Crashes(history, "strict-posix").distinct()
            for each in violations(Case.of(history, found, None))
        }

    assert words(alone) == words(among) == {"MARK"}
    assert images(alone, "strict-posix")


@pytest.mark.parametrize(
    "text",
    [
        "creat m; chmod m; creat n; chmod n; rename m n",
        "creat m; chmod m; unlink m; creat m; chmod m 600",
        "creat m; rename m n; creat m; link m bad/m; rename n bad/m",
    ],
)
def test_files_that_share_a_name_are_not_independent(text: str) -> None:
    """Which of two files a name leads to hangs on both, so every state of the two together is there."""
    history = script(text)
    crashes = Crashes(history, "strict-posix")
    cut = len(history.events)
    assert len(parts(crashes.pending(cut))) == 1
    brute = {crashes.build(cut, (mask, ())).image.digest() for mask in _subsets(crashes, cut)}
    assert {image.digest() for image in images(history, "strict-posix")} == brute


def test_what_a_truncation_took_away_does_not_come_back_when_the_file_grows() -> None:
    for model in MODELS:
        (image,) = images(script("trunc m 2; write m 3 at 5; syncfs", before="creat m; write m 600"), model)
        assert image.directory("spool")["m"].data == b"10\0\0\0" + b"1 i"


def test_where_the_cuts_are() -> None:
    """Before each barrier, around each word; the one after a word is where a counterexample ends best."""
    history = script("creat m; write m 9; fsync m; chmod m; fail fsync m; lock m; reply one; unlock m; exit 0; creat n")
    assert Crashes(history, "xfs").cuts() == (2, 4, 6, 7, 8, 9, 10)
    assert Crashes(history, "process-crash").cuts() == tuple(range(11))
