"""The client on the socket that inetd handed over."""

import _socket as socket
import errno
import posix as os
import select
import time

from .. import limit

_POLL_S_MAX = 86400  # poll(2) takes an int of milliseconds, which `timeout` may be beyond; then it is asked again


class Peer:
    """The client on a connected stream socket."""

    def __init__(self, connection: "socket.socket") -> None:
        self._socket = connection
        self._poll = select.poll()
        self.address = _address(connection)
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            # Several replies to pipelined commands must not wait for the client's acknowledgement of the first.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            pass  # not a TCP socket

    def recv(self, size_bytes: int, until_s: float | None) -> bytes:
        try:
            self._wait(select.POLLIN, until_s)
            return self._socket.recv(size_bytes)
        except OSError as error:
            raise _lost(error) from error

    def send(self, data: bytes, until_s: float | None) -> None:
        try:
            while data:
                try:
                    data = data[self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) :]
                except BlockingIOError:
                    self._wait(select.POLLOUT, until_s)
        except OSError as error:
            raise _lost(error) from error

    def _wait(self, event: int, until_s: float | None) -> None:
        """Wait for the socket, however the client spaces its bytes."""
        self._poll.register(self._socket, event)
        while True:
            remaining_s = None if until_s is None else until_s - time.monotonic()
            if remaining_s is not None and remaining_s <= 0:
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            if self._poll.poll(None if remaining_s is None else int(min(remaining_s, _POLL_S_MAX) * 1000) + 1):
                return

    def leave(self) -> None:
        """Say that nothing more comes, and take what has arrived, so that the last reply is not lost to a reset."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
            for _ in range(16):
                if not self._socket.recv(limit.RECEIVE_BYTES, socket.MSG_DONTWAIT):
                    break
        except OSError:
            pass
        self._socket.close()


def _lost(error: OSError) -> OSError:
    """Whatever the network says of the connection, the client is gone.

    The kernel may say EHOSTUNREACH, ENETDOWN or EPROTO (tcp(7), ip(7)), which Python calls no ConnectionError.
    """
    if isinstance(error, TimeoutError | ConnectionError):
        return error
    return ConnectionError(error.errno, error.strerror)


def _address(connection: "socket.socket") -> str:
    try:
        name = connection.getpeername()
    except OSError:
        return "unknown"
    if not isinstance(name, tuple):
        return "unknown"
    address = str(name[0]).partition("%")[0]
    return address.removeprefix("::ffff:")
