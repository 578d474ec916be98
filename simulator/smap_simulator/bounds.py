"""Where a campaign stops by itself: every bound with its number, what lies beyond it, and how often something did.

What a bound leaves out is not measured. A bound that never cut anything off leaves nothing out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from smap_simulator.address import SCENARIOS
from smap_simulator.campaign import SCHEDULED, SEEDS_CRASHED, Plan, Totals
from smap_simulator.connection import sent_by
from smap_simulator.contents import Bounds
from smap_simulator.experiment import BOUND
from smap_simulator.scenario import Scenario

CRASHES_IN_A_ROW = 2
FAULTS_IN_A_RUN = 1
_STATES = (
    ("bad_blocks", "bad blocks in one file", "states in which more are bad, and not all of them alike"),
    ("places", "places in one write or file", "of a larger write, sizes in between; of a file, bad blocks"),
    ("torn", "bytes at which a write in flight is torn", "those in between"),
    ("sets", "sets of open operations of one file", "further sets"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bound:
    """At most `limit` of something. `cut` is how often there would have been more; None: there always is more."""

    name: str
    limit: int
    leaves_out: str
    cut: int | None


def of_states(counts: Counter[str]) -> Iterator[Bound]:
    """The bounds of an enumeration of crash states."""
    for name, told, leaves_out in _STATES:
        yield Bound(told, getattr(Bounds(), name), leaves_out, counts[BOUND + name])


def of_plan(plan: Plan, totals: Totals) -> list[Bound]:
    """The bounds of a campaign, as far as its chapters meet them."""
    counts, chapters = totals.sums, set(plan.chapters) or {task.chapter for task in plan.tasks()}
    found = [*of_states(counts)] if chapters & {"crashes", "faults"} else []
    if "schedules" in chapters:
        most = max(preemptions for _, preemptions in SCHEDULED)
        told = ", ".join(f"{name} {preemptions}" for name, preemptions in SCHEDULED)
        found += [
            Bound("preemptions in one schedule", most, f"schedules with more ({told})", counts[BOUND + "preemptions"]),
            Bound("seeds of each scenario that has them", plan.seeds, "further random schedules", None),
        ]
    if "crashes" in chapters:
        found.append(Bound("random schedules that are crashed", SEEDS_CRASHED, "crash states of all others", None))
    if chapters & {"faults"}:
        struck = sum(count for name, count in totals.fired.items() if not name.startswith("full disk"))
        found.append(Bound("faults in one run", FAULTS_IN_A_RUN, "a second fault after the first", struck))
    found.append(Bound("crashes in a row", CRASHES_IN_A_ROW, "a crash in that recovery", counts[BOUND + "crashes"]))
    scans = max(scenario.scans_max for scenario in _planned(plan))
    found.append(
        Bound("scans of a smapd that never gets done", scans, "what it would do then", counts[BOUND + "scans"])
    )
    return [*found, *_of_scenarios(list(_planned(plan)))]


def _planned(plan: Plan) -> Iterator[Scenario]:
    for word in sorted({task.address.scenario for task in plan.tasks()}):
        yield SCENARIOS[word]


def _of_scenarios(scenarios: list[Scenario]) -> Iterator[Bound]:
    sessions = max(len(scenario.clients) for scenario in scenarios)
    smapds = max(scenario.smapds for scenario in scenarios)
    messages = max(client_messages(scenario) for scenario in scenarios)
    yield Bound("sessions at once", sessions, "more clients", None)
    yield Bound("messages in one session", messages, "longer sessions", None)
    yield Bound("smapd at once", smapds, "more of them", None)


def client_messages(scenario: Scenario) -> int:
    """The most DATA lines that one client of a scenario sends."""
    return max((sent_by(client).upper().count(b"\r\nDATA\r\n") for client in scenario.clients), default=0)
