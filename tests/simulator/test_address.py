"""An address is everything that decides a run: it can be read back, and says what is wrong with it."""

import errno
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smap_simulator.address import SCENARIOS, Address, AddressError, parse, turns_of
from smap_simulator.fault import Effect, Fault, rows
from smap_simulator.mutants import MUTANTS

NUMBERS = st.integers(0, 10**9)
FAULTS = st.builds(
    lambda row, nth: Fault(row.program, row.call, row.errno, nth, row.persistent, row.effect, row.bytes_max),
    st.sampled_from(list(rows())),
    st.integers(1, 999),
)
TURNS = st.dictionaries(st.integers(0, 500), st.integers(1, 9), max_size=5).map(
    lambda found: tuple(sorted(found.items()))
)
ADDRESSES = st.builds(
    Address,
    st.sampled_from(sorted(SCENARIOS)),
    st.sampled_from(["", *(mutant.name for mutant in MUTANTS)]),
    st.none() | FAULTS,
    st.none(),
    TURNS,
    st.none() | NUMBERS,
    st.none() | NUMBERS,
    st.booleans(),
) | st.builds(lambda run, seed: replace(run, seed=seed), st.builds(Address, st.just("two-smapd")), NUMBERS)


@given(ADDRESSES)
def test_what_is_written_is_read_back(address: Address) -> None:
    assert parse(str(address)) == address


@given(ADDRESSES)
def test_an_address_is_one_word_of_a_shell(address: Address) -> None:
    assert all(letter.isalnum() or letter in "+=.,-" for letter in str(address))


def test_no_two_rows_of_the_fault_table_have_one_address() -> None:
    words = [str(Address("one-message", fault=row)) for row in rows()]
    assert len(set(words)) == len(words)


def test_turns_are_the_decisions_that_are_not_0() -> None:
    turns = turns_of((0, 2, 0, 0, 1))
    assert turns == ((1, 2), (4, 1))
    assert parse("two-smapd+turns=1.2,4.1").turns == turns


def test_a_fault_is_written_as_the_docstring_says() -> None:
    assert str(Address("one-message", fault=Fault("smap", "fsync", errno.EIO))) == "one-message+fault=smap.fsync.EIO.1"
    killed = Fault("smap", "*", nth=7, effect=Effect.KILL_AFTER)
    assert parse("one-message+fault=smap.any.kill-after.7").fault == killed


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("no-such", "'no-such'"),
        ("one-message+seed=x", "'seed=x'"),
        ("one-message+fault=smap.fsync.NOERRNO.1", "'fault=smap.fsync.NOERRNO.1'"),
        ("one-message+fault=smap.fsync.EIO.1.often", "'fault=smap.fsync.EIO.1.often'"),
        ("one-message+turns=1", "'turns=1'"),
        ("one-message+turns=5.1,2.1", "'turns=5.1,2.1'"),
        ("one-message+turns=5.1,5.2", "'turns=5.1,5.2'"),
        ("one-message+turns=5.0", "'turns=5.0'"),
        ("one-message+turns=999999999.1", "'turns=999999999.1'"),
        ("one-message+seed=-1", "'seed=-1'"),
        ("one-message+seed=1_0", "'seed=1_0'"),
        ("one-message+seed=1+seed=2", "'seed' is there twice"),
        ("one-message+seed=1+turns=2.1", "a seed and turns both decide"),
        ("one-message+mutant=", "'mutant='"),
        ("one-message+fault=smap.fsync.EIO.0", "'fault=smap.fsync.EIO.0'"),
        ("one-message+fault=smap.fsink.EIO.1", "'fault=smap.fsink.EIO.1'"),
        ("one-message+fault=smup.fsync.EIO.1", "'fault=smup.fsync.EIO.1'"),
        ("one-message+fault=smap.fsync.errorcode.1", "'fault=smap.fsync.errorcode.1'"),
        ("one-message+then=refuses", "'then=refuses'"),
        ("one-message+colour=blue", "'colour=blue'"),
    ],
)
def test_a_complaint_names_the_part_that_is_wrong(text: str, named: str) -> None:
    with pytest.raises(AddressError, match="^" + text.replace("+", r"\+").replace(".", r"\.")) as caught:
        parse(text)
    assert named in str(caught.value)
