"""What a test may need of the machine. A need that is not met skips the test with its reason; in CI it fails."""

import os
import shutil
import signal
import sys

import hypothesis
import pytest

# The same examples in each run: a test that fails does so on every machine, and a report can be repeated.
hypothesis.settings.register_profile("smaplab", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("smaplab")

# Hundreds of tests start a program of ours: without compiled modules each would translate the whole project anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Who starts the tests in the background of a shell has them ignore interrupts, and every child would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two workers for each core: half of the tests wait for programs, and for their next scan.

    Who has nothing left takes from the others, or one of them would end minutes after the rest.
    """
    if config.option.dist == "no":
        config.option.dist = "worksteal"
    return 2 * len(os.sched_getaffinity(0))


def unmet(reason: str) -> None:
    """Skip the test that is running; in CI, where everything is to be there, fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"not skipped in CI: {reason}")
    pytest.skip(reason)


def needs(program: str, *, package: str) -> str:
    """The path of a program of the base system, which `apt-get install PACKAGE` would bring."""
    # A plain user's PATH lacks the places of the daemons.
    path = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if path is None:
        unmet(f"no {program} here: apt-get install {package}")
    return str(path)


def needs_root() -> None:
    """Only root can change the root and the user of a process."""
    if os.geteuid() != 0:
        pytest.skip("only root can change root and user")  # a plain user's run is no lesser CI: root's has been there


@pytest.fixture(name="unmet")
def _unmet() -> object:
    return unmet


@pytest.fixture(name="needs")
def _needs() -> object:
    return needs


@pytest.fixture
def root() -> None:
    needs_root()
