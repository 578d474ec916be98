"""One smap and one smapd at work, as a case holds them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable

from smap_conformance import offspring
from smap_conformance.dialogue import Dialogue, Reply, Transcript
from smap_conformance.expect import Overdue, codes, expect, not_measured
from smap_conformance.overhear import Overhearing
from smap_conformance.patience import WAIT_S, Patience, until

SETTLE_S = 5.0  # for a daemon to go to the background, or to be refused


class Session(Dialogue):
    """A dialogue with one smap, and that smap (None in wait mode: nobody can tell which process serves)."""

    def __init__(self, connection: socket.socket, patience: Patience, smap: subprocess.Popen[bytes] | None) -> None:
        super().__init__(connection, patience.bound_s(), Transcript())
        self.smap = smap

    def _smap(self) -> subprocess.Popen[bytes]:
        if self.smap is None:
            not_measured('in wait mode nobody can tell which process serves, or wait for it: [smap] mode = "both"')
        return self.smap

    @property
    def pid(self) -> int:
        """The serving process (nowait mode only)."""
        return self._smap().pid

    def exit_status(self, within_s: float | None = None) -> int:
        """Wait for smap to exit: its status, negative for a signal. Miss when it does not."""
        smap = self._smap()
        wait = self._wait_s if within_s is None else within_s
        try:
            return smap.wait(timeout=wait)
        except subprocess.TimeoutExpired:
            raise Overdue("smap at the end of its session", "an exit", f"still running after {wait:g} s") from None

    def greeting(self) -> Reply:
        """The first reply, which must be 220."""
        reply = self.reply()
        expect("greeting", reply, codes(220))
        assert reply is not None
        return reply

    def died(self) -> str:
        """How smap ended, for a description: "running", an exit status, or a signal's name."""
        if self.smap is None or self.smap.poll() is None:
            return "running"
        status = self.smap.returncode
        return str(status) if status >= 0 else signal.Signals(-status).name


class Smapd:
    """A smapd, in the background or not, and what it says."""

    def __init__(
        self,
        first: subprocess.Popen[bytes],
        output: int,
        before: frozenset[int],
        patience: Patience,
        is_another: Callable[[int], bool],
    ) -> None:
        self.first, self._before, self._patience = first, before, patience
        self._is_another = is_another  # whether a child of ours is none of smapd's
        self._overhearing = Overhearing(output)

    def daemons(self) -> list[int]:
        """The living top-level processes that belong to it: itself, or what it left in our care."""
        if self.first.poll() is None:
            return [self.first.pid]
        adopted = set(offspring.children(os.getpid())) - self._before
        return [pid for pid in sorted(adopted) if offspring.alive(pid) and not self._is_another(pid)]

    def outcome(self, settle_s: float = SETTLE_S) -> int | None:
        """The status with which the first process exited: 0 for a daemon at work, else a refusal. None: it stays."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.first.wait(timeout=settle_s * self._patience.scale)
        return None

    def refused(self) -> bool:
        """Whether it declined to start: ended with a status other than 0, or left nobody behind."""
        status = self.outcome()
        return status is not None and (status != 0 or not self.daemons())

    def running(self) -> bool:
        """Whether it is still there."""
        return bool(self.daemons())

    def said(self) -> str:
        """What it has written to its standard output and error by now."""
        return b"".join(self._overhearing.pieces()).decode(errors="backslashreplace")

    def signal(self, number: int) -> None:
        """Send a signal to the daemon, not to its deliveries."""
        for pid in self.daemons():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """SIGKILL to the daemon and everything below it, until nobody is left: it may have forked meanwhile."""

        def are_gone() -> bool:
            left = self.daemons()
            for pid in left:
                for each in (pid, *offspring.descendants(pid)):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(each, signal.SIGKILL)
            return not left

        until("smapd", "its end", are_gone, self._patience.bound_s(WAIT_S))

    def wait_end(self, within_s: float = WAIT_S) -> None:
        """Miss when the daemon is still there after the bound."""
        until("smapd", "its end", lambda: not self.daemons(), self._patience.bound_s(within_s))

    def close(self) -> None:
        """Stop listening to it, when everything is over."""
        self.first.wait()
        self._overhearing.close()
