"""Nothing is cut off in silence: each bound is met where there is more, and only there, and is told with its number."""

from collections import Counter
from dataclasses import replace

import pytest
from history_script import script
from smap_simulator import bounds, campaign
from smap_simulator.address import Address
from smap_simulator.campaign import Plan, Totals
from smap_simulator.choice import Exhaustive
from smap_simulator.contents import Bounds
from smap_simulator.crash import Crashes
from smap_simulator.experiment import Lab
from smap_simulator.programs import load
from smap_simulator.scenario import NAMED
from smap_simulator.world import run


def states(calls: str, model: str, limits: Bounds) -> tuple[int, Counter[str]]:
    """How many states there are within the bounds, and which of them cut something off."""
    crashes = Crashes(script(calls), model)
    return sum(1 for _ in crashes.ids(limits)), +crashes.cut_short


WIDE = Bounds(bad_blocks=9, places=999, torn=9999, sets=1 << 40)


@pytest.mark.parametrize(
    ("calls", "model", "name", "enough"),
    [
        ("creat m; write m 3 blocks; fsync spool", "ext4-writeback", "bad_blocks", 3),
        ("creat m; write m 9 blocks", "ext4-ordered", "places", 9),
        ("creat m; write m 3 blocks; fsync spool", "ext4-writeback", "places", 3),
        ("creat m; write m 50", "process-crash", "torn", 49),
        ("creat m; chmod m; chown m 7; link m n; link m o", "strict-posix", "sets", 32),
    ],
)
def test_a_bound_counts_when_it_cuts_and_only_then(calls: str, model: str, name: str, enough: int) -> None:
    everything, met = states(calls, model, WIDE)
    assert met == Counter()
    assert states(calls, model, replace(WIDE, **{name: enough})) == (everything, Counter())
    fewer, met = states(calls, model, replace(WIDE, **{name: enough - 1}))
    assert fewer < everything
    assert set(met) == {name}


def test_a_preemption_more_is_one_bound_met() -> None:
    every = Exhaustive(1)
    schedules = len([run(NAMED["two smapd"], load(), choice) for choice in every])
    assert 0 < every.cut_short < schedules


def test_scans_that_were_used_up_are_counted() -> None:
    ever, done = (Address(name).play(load()) for name in ("temporary-failure-for-ever", "one-message"))
    assert (ever.cut_short, done.cut_short) == (True, False)
    counts = Lab(load()).alone(Address("temporary-failure-for-ever")).counts
    assert counts["bound: scans"] == 2  # of the run, and of the restart
    assert counts["bound: crashes"] == 1  # the restart was not cut


def test_a_campaign_tells_its_bounds_with_their_numbers() -> None:
    plan = Plan(models=("process-crash",), scenarios=("one-message",), chapters=("crashes",))
    totals = campaign.run(plan)
    told = {bound.name: (bound.limit, bound.cut) for bound in bounds.of_plan(plan, totals)}
    assert told["bytes at which a write in flight is torn"] == (64, 1)
    assert told["bad blocks in one file"] == (1, 0)
    assert told["crashes in a row"] == (2, totals.counts["crashes"]["bound: crashes"])
    assert told["crashes in a row"][1] > 100
    assert told["sessions at once"] == (1, None)
    assert "seeds of each scenario that has them" not in told
    everything = {bound.name for bound in bounds.of_plan(Plan(), Totals())}
    assert everything > {"seeds of each scenario that has them", "faults in one run", *told}
