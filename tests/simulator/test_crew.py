"""A campaign that is interrupted tells what it has, ends with 130, and leaves no process behind."""

import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from smap_simulator.crew import Crew, interrupts_remembered

SMAPLAB = str(Path(sys.executable).with_name("smaplab"))
PATIENCE_S = 120.0  # of a machine under load; nobody waits that long where all is well


def one_more(number: int) -> int:
    return number + 1


def for_ever(number: int) -> int:
    while number == 1:
        signal.pause()
    return number


def when_it_may(item: tuple[int, Path]) -> None:
    number, may = item
    while number and not may.exists():
        os.sched_yield()


def test_results_come_with_their_numbers() -> None:
    with Crew(2) as crew:
        assert sorted(crew.results(one_more, [5, 6, 7])) == [(0, 6), (1, 7), (2, 8)]


def test_leaving_ends_who_is_at_work() -> None:
    """The second item would never be done."""
    with Crew(2) as crew:
        assert next(crew.results(for_ever, [0, 1, 1, 1])) == (0, 0)


def test_items_that_are_forgotten_are_not_begun(tmp_path: Path) -> None:
    """Number 0 is done at once, and all others when they may."""
    items = [(number, tmp_path / "may") for number in range(50)]
    done = []
    with Crew(1) as crew:
        for number, _ in crew.results(when_it_may, items):
            done.append(number)
            crew.forget(0)
            (tmp_path / "may").touch()
    assert done[0] == 0
    assert len(done) <= 4  # it, and what the worker had been given already


def strike_and_begin(crew: Crew) -> None:
    """An interrupt in the midst of the forks: Python drops exceptions there."""
    os.register_at_fork(before=lambda: signal.raise_signal(signal.SIGINT) if not STRUCK else None)
    os.register_at_fork(after_in_parent=lambda: STRUCK.append(1))
    list(crew.results(one_more, [1, 2, 3]))


STRUCK: list[int] = []


def test_an_interrupt_while_workers_are_made_is_not_lost() -> None:
    with pytest.raises(KeyboardInterrupt), Crew(2) as crew:
        strike_and_begin(crew)
    assert STRUCK


class TornDown:
    """Interrupted while it is torn down, where Python drops exceptions."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_is_dropped_is_remembered() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupts_remembered() as interrupted:
        assert not interrupted()
        TornDown()
        assert interrupted()
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt), interrupts_remembered():
        signal.raise_signal(signal.SIGINT)


def wait_for(master: int, wanted: bytes) -> None:
    """Read what the terminal shows until the bar moves."""
    seen = b""
    while wanted not in seen:
        assert select.select([master], [], [], PATIENCE_S)[0], f"the terminal shows {seen[-300:]!r}"
        seen += os.read(master, 4096)


def interrupted(words: list[str], wanted: bytes, strike: Callable[[int], None]) -> tuple[int, str, str]:
    """Run a command on a terminal, strike when its bar has moved: status, stdout, and what the terminal showed then."""
    master, slave = pty.openpty()
    ran = subprocess.Popen([SMAPLAB, *words], stdout=subprocess.PIPE, stderr=slave, text=True, start_new_session=True)
    os.close(slave)
    try:
        wait_for(master, wanted)
        strike(ran.pid)
        told, _ = ran.communicate(timeout=PATIENCE_S)
        shown = b""
        while select.select([master], [], [], 0)[0]:
            try:
                shown += os.read(master, 4096)
            except OSError:  # nobody has the terminal open any more
                break
        with pytest.raises(ProcessLookupError):  # its workers are of its group
            os.killpg(ran.pid, 0)
    finally:
        if ran.poll() is None:
            os.killpg(ran.pid, signal.SIGKILL)
            ran.communicate()
        os.close(master)
    return ran.returncode, told, shown.decode()


def to_all(pid: int) -> None:
    """As the terminal does it for Ctrl-C."""
    os.killpg(pid, signal.SIGINT)


def to_one(pid: int) -> None:
    """As `kill -INT` does it."""
    os.kill(pid, signal.SIGINT)


@pytest.mark.parametrize("strike", [to_all, to_one])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interrupt_tells_what_was_done_and_leaves_nobody(strike: Callable[[int], None], jobs: str) -> None:
    status, told, shown = interrupted(["simulate", "--jobs", jobs], b" states ", strike)
    assert status == 130
    assert told.splitlines()[-1].split(": no violation, interrupted after ")[1].split() >= ["1", "task"]
    assert [line for line in told.splitlines() if line.startswith(" all ")]
    assert "Traceback" not in shown


def test_interrupted_mutants_are_told_as_such() -> None:
    status, told, shown = interrupted(["mutants", "--jobs", "2"], b" mutants ", to_all)
    assert status == 130
    assert told.rstrip().endswith("interrupted before the others were tried")
    assert "Traceback" not in shown
