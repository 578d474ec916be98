"""Starting smap the two ways that inetd does.

`nowait`: for each client an accepted TCP socket on descriptors 0, 1 and 2 of a fresh smap. `wait`: the listening socket
on descriptor 0 of one smap, which accepts by itself. The sockets are real TCP on the loopback: a target may ask for
its peer's address.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable

Start = Callable[..., "subprocess.Popen[bytes]"]


class Inetd:
    """A loopback port behind which smap serves."""

    def __init__(self, mode: str = "nowait") -> None:
        self.mode = mode
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.waiting: subprocess.Popen[bytes] | None = None
        self.served: list[subprocess.Popen[bytes]] = []

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def connect(
        self, start: Start, *, receive_bytes: int | None = None
    ) -> tuple[socket.socket, subprocess.Popen[bytes] | None]:
        """A client's connection, and in nowait mode the smap that serves it. OSError when smap cannot be executed.

        `start` is given stdin, stdout, stderr and starts the program.
        """
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            if receive_bytes is not None:  # a small window, for clients that do not read
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            if self.mode == "wait" and (self.waiting is None or self.waiting.poll() is not None):
                self.waiting = start(stdin=self._listener, stdout=self._listener, stderr=self._listener)
                self.served.append(self.waiting)
            client.connect(("127.0.0.1", self.port))
            if self.mode == "wait":
                return client, None
            accepted, _ = self._listener.accept()
            with accepted:
                if receive_bytes is not None:  # or it would be heard by megabytes of buffer
                    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, receive_bytes)
                smap = start(stdin=accepted, stdout=accepted, stderr=accepted)
        except BaseException:
            client.close()
            raise
        self.served.append(smap)
        return client, smap

    def close(self) -> None:
        """Close the port; what still serves is the sandbox's to end."""
        self._listener.close()

    def reap(self) -> None:
        """Collect what was started, once all of it has been ended."""
        for smap in self.served:
            smap.wait()
