"""kill -9 at random moments under load; the script beside this file does it 200 times."""

import kill_at_random
import pytest


@pytest.mark.usefixtures("root")
def test_nothing_is_lost_and_nothing_is_half() -> None:
    counts = kill_at_random.count(40, seed=7)
    assert counts["lost"] == counts["partial"] == 0
    assert counts["promised"] > 0
    assert all(counts[f"killed {victim}"] > 0 for victim in kill_at_random.VICTIMS)
    assert counts["delivered"] + counts["set aside"] >= counts["promised"]


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("mutant", kill_at_random.MUTANTS)
def test_a_broken_reference_is_seen(mutant: str) -> None:
    """Where a kill falls is chance, on a busy machine all the more: seen in one of a few runs is seen."""
    what = "partial" if "partial" in mutant else "lost"
    runs = (kill_at_random.count(40, seed, kill_at_random.MUTANTS[mutant]) for seed in range(6))
    assert any(counts[what] for counts in runs)


def test_the_judge_knows_a_half_message() -> None:
    whole = b"Received: from x\n" + kill_at_random.message("1-2")
    assert kill_at_random.name_of(whole) == "1-2"
    assert kill_at_random.name_of(whole[:-1]) is None
    assert kill_at_random.name_of(whole[: len(whole) // 2]) is None
    assert kill_at_random.name_of(b"") is None
