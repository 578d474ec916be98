"""The programs of a target, as the harness starts and ends them."""

from __future__ import annotations

import os
import socket
import subprocess

import pytest
from smap_conformance import inside, offspring
from smap_conformance.patience import Patience
from smap_conformance.programs import Smapd

SLEEPS = ("sleep", "600")


class Forking(Smapd):
    """It has a copy that nobody had seen when it was killed."""

    copy: subprocess.Popen[bytes] | None = None

    def daemons(self) -> list[int]:
        """First itself, then what it left."""
        if self.copy is None:
            self.copy = subprocess.Popen(SLEEPS)
            return [self.first.pid]
        return [self.copy.pid] if offspring.alive(self.copy.pid) else []


def test_a_copy_that_is_forked_while_smapd_is_killed_is_killed_too() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    smapd = Forking(subprocess.Popen(SLEEPS), reading, frozenset(), Patience(scale=0.1), lambda pid: False)
    try:
        smapd.kill()
        assert smapd.copy is not None
        assert smapd.copy.wait(timeout=60) == smapd.first.wait(timeout=60) == -9
    finally:
        for process in (smapd.first, smapd.copy):
            if process is not None:
                process.kill()
                process.wait()
        smapd.close()


def test_the_inside_mta_finds_another_port_where_somebody_has_taken_the_free_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SMTPD_READY_TIMEOUT", "0.5")  # so long it looks for the reason why it does not start
    free_port = inside.free_port
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        taken = somebody.getsockname()[1]
        first = iter([taken])
        monkeypatch.setattr(inside, "free_port", lambda: next(first, None) or free_port())
        with inside.inside_mta() as mta:
            assert mta.address[1] != taken
        monkeypatch.setattr(inside, "free_port", lambda: taken)
        with pytest.raises(OSError, match="ddress already in use"), inside.inside_mta():
            pass
