"""The pytest plugin: the options, the fixtures, and the door to everything else.

It does nothing at all unless `--smap-target`, or `--smap` and `--smapd`, is given, and loads nothing beyond pytest
until then, so that its being installed changes nobody's test run. Every case carries `@pytest.mark.rule("GATHER-03")`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from smap_conformance.lab import Lab
    from smap_conformance.place import Place

CONDUCTOR = "smap-conductor"
LEVELS = ("must", "should", "all")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options; all begin with --smap."""
    group = parser.getgroup("smap", "smap and smapd conformance")
    group.addoption("--smap-target", metavar="FILE", help="judge this target: its manifest, or `reference`")
    group.addoption("--smap", dest="smap_program", metavar="PATH", help="judge this smap (with --smapd)")
    group.addoption("--smapd", dest="smapd_program", metavar="PATH", help="judge this smapd (with --smap)")
    group.addoption("--smap-level", choices=LEVELS, default="all", help="run cases of these levels (all)")
    group.addoption("--smap-only", metavar="RULES", default="", help="run cases of these rules or chapters only")
    group.addoption("--smap-case", metavar="CASE", action="append", default=[], help="run this case only (repeatable)")
    group.addoption("--smap-user", metavar="NAME", help="as root: the unprivileged user of the programs (nobody)")
    group.addoption("--smap-report", metavar="DIR", help="write results.json and the artefacts of failures here")
    group.addoption("--smap-timeout-scale", metavar="X", type=float, help="multiply every bound by X (1)")
    group.addoption("--smap-no-isolation", action="store_true", help="use no namespaces even where they work")


def pytest_configure(config: pytest.Config) -> None:
    """Put the conductor in charge when a target is given."""
    config.addinivalue_line("markers", "rule(id, …): the rules of the catalogue that a case of the suite judges")
    config.addinivalue_line("markers", "sanity: the delivery that shows that the plug fits")
    if any(config.getoption(name) for name in ("smap_target", "smap_program", "smapd_program")):
        from smap_conformance import conductor  # noqa: PLC0415 - only who judges a target needs all that it loads

        config.pluginmanager.register(conductor.for_session(config), CONDUCTOR)


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Lab:
    """The lab of this process: `with lab.place(…) as place:` for cases that need several, or a special one."""
    conductor = request.config.pluginmanager.get_plugin(CONDUCTOR)
    if conductor is None:
        pytest.skip("a case of the conformance suite: give --smap-target, or --smap and --smapd")
    opened: Lab = conductor.lab()
    return opened


@pytest.fixture
def place(lab: Lab) -> Iterator[Place]:
    """A place of its own for the case, as `lab.place()` makes it."""
    with lab.place() as opened:
        yield opened


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Record what this target does where a rule leaves it open: `note("CFG-09", "ignored")`."""
    notes: dict[str, str] = {}
    request.node.smap_notes = notes
    return notes.__setitem__


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Counter[str]:
    """What the case has gone through, counted: `tally["crash points"] += 1`. The counts of a run are added up."""
    counts: Counter[str] = Counter()
    request.node.smap_tally = counts
    return counts


@pytest.fixture
def chose(request: pytest.FixtureRequest, lab: Lab) -> Callable[[str, str, str], None]:
    """Record a choice that the rules leave open: `chose("lock", "flock", "GATHER-04")`.

    Where the target's manifest declares another, that is a failure of the rule named.
    """
    seen: dict[str, str] = {}
    request.node.smap_choices = seen

    def choose(name: str, value: str, rule: str) -> None:
        from smap_conformance.expect import Misdeclared  # noqa: PLC0415 - see above

        seen[name] = value
        declared = lab.target.declared.as_json().get(name)
        if declared not in (None, value):
            raise Misdeclared(f"what [choices] {name} of the manifest declares", str(declared), value, rule)

    return choose
