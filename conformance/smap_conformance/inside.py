"""The inside MTA: where mail ends up when everything works (smtpdfix on the loopback)."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from smtpdfix import AuthController, Config

STARTS_MAX = 5


@dataclass(frozen=True, slots=True)
class Delivered:
    """One message as the inside MTA took it: envelope, and bytes with CRLF line ends."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


class InsideMta:
    """Takes everything; `delivered` is in the order of arrival."""

    def __init__(self, controller: AuthController) -> None:
        self._controller = controller
        self._arrived = threading.Condition()
        self.delivered: list[Delivered] = []
        controller.handler.handle_DATA = self._take

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return "127.0.0.1", int(self._controller.port)

    def stop(self) -> None:
        """Take nothing more."""
        self._controller.stop()

    async def _take(self, server: Any, session: Any, envelope: Any) -> str:
        # `messages` are parsed and written again; original_content is what came over the wire
        taken = Delivered(envelope.mail_from or "", tuple(envelope.rcpt_tos), bytes(envelope.original_content))
        with self._arrived:
            self.delivered.append(taken)
            self._arrived.notify_all()
        return "250 taken"

    def wait_for(self, count: int, within_s: float) -> list[Delivered]:
        """What has arrived once there are `count` messages or the time is over."""
        end = time.monotonic() + within_s
        with self._arrived:
            while len(self.delivered) < count and (left := end - time.monotonic()) > 0:
                self._arrived.wait(left)
            return list(self.delivered)


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _started(starts: int = STARTS_MAX) -> InsideMta:
    """On a port that nobody has taken between the look and the start, as another worker may."""
    before = os.environ.copy()
    controller = AuthController(hostname="127.0.0.1", port=free_port(), config=Config())
    for name in set(os.environ) - set(before):
        del os.environ[name]
    mta = InsideMta(controller)
    try:
        controller.start()
    except OSError as error:
        controller.loop.close()
        if error.errno == errno.EADDRINUSE and starts > 1:
            return _started(starts - 1)
        raise
    return mta


@contextlib.contextmanager
def inside_mta() -> Iterator[InsideMta]:
    """A running inside MTA on a free loopback port."""
    mta = _started()
    try:
        yield mta
    finally:
        mta.stop()
