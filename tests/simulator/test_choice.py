"""Schedules: how many there are, that each is another, and that a list of decisions is a run's address."""

from collections.abc import Callable
from math import comb

import pytest
from smap_simulator import choice as choices
from smap_simulator.choice import Choice, Exhaustive, Replayed, ReplayError, Seeded, Undisturbed


def run_toy(choice: Choice, steps: int = 3) -> str:
    """Two processes of so many steps each; before each but the first of a turn the other may go on."""
    left = {"a": steps, "b": steps}
    done = ""
    running = "ab"[choice.choose(2)]
    while any(left.values()):
        other = "b" if running == "a" else "a"
        if not left[running] or (left[other] and done[-1:] == running and choice.choose(2, preempts=True)):
            running = other
        left[running] -= 1
        done += running
    return done


def schedules(preemptions_max: int, run: Callable[[Choice], str] = run_toy) -> list[str]:
    return [run(choice) for choice in Exhaustive(preemptions_max)]


@pytest.mark.parametrize("preemptions", range(6))
def test_the_exhaustive_search_finds_each_schedule_once(preemptions: int) -> None:
    found = schedules(preemptions)
    assert len(found) == len(set(found))
    every = {word for word in schedules(99) if switches(word) <= preemptions}
    assert set(found) == every


def switches(word: str) -> int:
    """How often the processor was taken from a process that still had steps to do."""
    return sum(1 for at in range(1, len(word)) if word[at] != word[at - 1] and word[at - 1] in word[at:])


def test_without_a_bound_it_finds_all_interleavings() -> None:
    assert len(schedules(99)) == comb(6, 3)


def test_a_run_is_repeated_by_its_decisions() -> None:
    for choice in Exhaustive(3):
        word = run_toy(choice)
        again = Replayed(choice.decisions)
        assert run_toy(again) == word
        assert again.decisions == choice.decisions


def test_decisions_of_another_run_are_refused() -> None:
    with pytest.raises(ReplayError, match="decision 1 is 5, and there are 2 ways"):
        run_toy(Replayed([5]))


def test_seeds_are_repeatable_and_differ() -> None:
    words = [run_toy(Seeded(seed, calls_per_switch=2), steps=10) for seed in range(50)]
    assert words == [run_toy(Seeded(seed, calls_per_switch=2), steps=10) for seed in range(50)]
    assert len(set(words)) > 40
    assert run_toy(Undisturbed()) == "aaabbb"


def test_the_seeded_numbers_are_those_of_splitmix64() -> None:
    """The first outputs for seed 1234567, as its authors publish them."""
    seeded = Seeded(1234567)
    assert [seeded.choose(2**64) for _ in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert choices.Seeded(0).choose(1 << 64) == 16294208416658607535
