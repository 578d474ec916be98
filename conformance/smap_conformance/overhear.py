"""Listening to what a target writes without ever making it wait, and without keeping all of it.

A thread empties the descriptor in the background; whoever looks empties it first, so that what was written before the
look is always in it. Of a target that writes without end the beginning is kept and the rest counted.
"""

from __future__ import annotations

import os
import select
import threading

PIECES_MAX = 20_000
BYTES_MAX = 4 * 1024 * 1024
_READS_IN_A_ROW = 256  # then somebody else may look


class Overhearing:
    """What comes in at a descriptor (which becomes ours): one piece for each read, so for each datagram."""

    def __init__(self, descriptor: int, *, datagrams: bool = False) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor, self._datagrams = descriptor, datagrams
        self._pieces: list[bytes] = []
        self._kept_bytes = 0
        self.dropped_bytes = 0
        self._ended = False
        self._lock = threading.Lock()
        self._stop, self._stopper = os.pipe()
        self._thread = threading.Thread(target=self._listen, name="overhearing", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        poll.register(self._stop, select.POLLIN)
        while not self._ended:
            if any(descriptor == self._stop for descriptor, _ in poll.poll()):
                return
            self._empty()

    def _empty(self) -> None:
        with self._lock:
            for _ in range(_READS_IN_A_ROW):
                try:
                    piece = os.read(self._descriptor, 65536)
                except BlockingIOError:
                    return
                if not piece and not self._datagrams:
                    self._ended = True
                    return
                if len(self._pieces) < PIECES_MAX and self._kept_bytes < BYTES_MAX:
                    self._pieces.append(piece)
                    self._kept_bytes += len(piece)
                else:
                    self.dropped_bytes += len(piece)

    def pieces(self) -> list[bytes]:
        """Everything that has been written by now, as far as it is kept."""
        if not self._ended:
            self._empty()
        with self._lock:
            return list(self._pieces)

    def close(self) -> None:
        """Stop listening."""
        os.write(self._stopper, b"x")
        self._thread.join()
        for descriptor in (self._descriptor, self._stop, self._stopper):
            os.close(descriptor)
