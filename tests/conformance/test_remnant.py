"""Remnants: what a crash left of one message, and the names and tokens under which it lies beside others."""

import pytest
from smap_conformance.remnant import (
    BADDIR,
    SPOOL,
    Disguise,
    Left,
    Remnant,
    labels,
    names_made,
    number_in,
    remnants,
    renamed,
    token,
)
from smap_simulator.history import Create, Event, History, Link, Rename, Reply
from smap_simulator.image import DIRECTORY, Image, Node, spool_image

SPOOL_AT, BAD_AT = 2, 3
NAMES = ["m1764000000.000000.101.0", "smap.Xa3f9Q", "xma00123", "aBcDeF", "spool-file_7f3a.eml"]


@pytest.mark.parametrize("name", NAMES)
def test_a_new_name_has_the_pattern_of_the_old_one(name: str) -> None:
    new = {renamed(name, number) for number in range(500)}
    assert len(new) == 500
    for each in new:
        assert len(each) == len(name)
        for old, character in zip(name, each, strict=True):
            assert (old.isdigit(), old.isalpha(), old.isupper()) == (
                character.isdigit(), character.isalpha(), character.isupper(),
            )  # fmt: skip
        assert each[0] == name[0]


def test_a_name_that_leaves_too_little_to_change_is_refused() -> None:
    with pytest.raises(ValueError, match="too little"):
        renamed("m1", 12)


def left(place: str, path: str, data: bytes = b"", number: int = 0, mode: int = 0o755) -> Left:
    return Left(place, path, number, mode, 0, 0, data)


def test_every_name_of_a_file_gets_the_same_new_part() -> None:
    remnant = Remnant("one", (left(BADDIR, ".m100001.0"), left(SPOOL, "m100001")))
    disguise = Disguise.of(remnant, 7, ["m100001", "m200002"])
    assert disguise.path(".m100001.0") == f".{disguise.path('m100001')}.0"
    assert disguise.path("m100001") != "m100001"
    assert disguise.is_of(f"{disguise.path('m100001')}.1")
    assert not disguise.is_of("m100001")


def test_two_files_of_one_number_never_share_a_name() -> None:
    made = ["m100001", "m100002"]
    remnant = Remnant("one", (left(SPOOL, "m100001"), left(SPOOL, "m100002", number=1)))
    shown = [Disguise.of(remnant, number, made).path(name) for number in range(1, 30) for name in made]
    assert len(set(shown)) == len(shown)


def test_a_token_is_changed_where_it_is_whole_and_nowhere_else() -> None:
    disguise = Disguise(42, {})
    data = f"FROM {token('a')}@a.example\n{token('b')} {token('a')[:-1]}".encode()
    shown = disguise.put_on(data)
    assert len(shown) == len(data)
    assert shown == b"FROM cutax000042@a.example\ncutbx000042 cutax00000"
    assert disguise.take_off(shown) == data
    assert number_in(shown) == 42
    assert number_in(data[:4]) == 0


def test_what_another_remnant_holds_is_not_taken_for_ones_own() -> None:
    assert Disguise(42, {}).take_off(b"cutax000043") == b"cutax000043"


def history(*events: Event, start: Image | None = None) -> History:
    return History(start or spool_image(), events)


def test_a_file_belongs_to_the_message_that_its_maker_promised_next() -> None:
    told = history(
        Create(7, "smap", 10, SPOOL_AT, "a", 0o644), Create(7, "smap", 11, SPOOL_AT, "a.envelope", 0o644),
        Reply(7, "smap", 1, 250, promises="one"), Create(7, "smap", 12, SPOOL_AT, "b", 0o644),
        Create(8, "smap", 13, SPOOL_AT, "c", 0o644), Reply(7, "smap", 1, 250, promises="two"),
    )  # fmt: skip
    assert labels(told) == {10: "one", 11: "one", 12: "two", 13: "file 13"}


def test_names_that_are_made_of_other_names_are_left_out() -> None:
    told = history(
        Create(1, "smap", 10, SPOOL_AT, "m1", 0o644), Link(2, "copy", 10, BAD_AT, ".m1.0"),
        Rename(2, "copy", 10, SPOOL_AT, "m1", BAD_AT, "other"),
    )  # fmt: skip
    assert names_made(told) == ["m1", "other"]


def test_an_image_comes_apart_by_message_and_links_are_known() -> None:
    nodes = dict(spool_image().nodes)
    nodes[SPOOL_AT] = Node(DIRECTORY, 0o755, entries={"m1": 10, "m2": 11})
    nodes[BAD_AT] = Node(DIRECTORY, 0o755, entries={".m1.0": 10})
    nodes |= {10: Node(mode=0o755, data=b"one"), 11: Node(data=b"tw")}
    found = remnants(Image(nodes), history(), {10: "one", 11: "two"})
    assert [(each.label, each.marked, each.inodes) for each in found] == [("one", True, (10,)), ("two", False, (11,))]
    assert [(left.place, left.path, left.number) for left in found[0].files] == [
        (BADDIR, ".m1.0", 0), (SPOOL, "m1", 0),
    ]  # fmt: skip
    changed = remnants(Image({**nodes, 11: Node(data=b"tX")}), history(), {10: "one", 11: "two"})
    assert changed[0].digest == found[0].digest
    assert changed[1].digest != found[1].digest
