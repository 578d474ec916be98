"""The target's end of a connection as the kernel knows it: which socket it is, and how much lies unread there.

With this two segments reach the target's read(2) one by one, for certain and without a pause. The kernel is asked
through sock_diag(7), which costs microseconds, or else by its table in /proc, which on a busy machine is long.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import sys
from pathlib import Path

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLMSG_ERROR = 2
_NLM_F_REQUEST = 1
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBBBI")  # family, protocol, extensions, padding, states
_ENDS = struct.Struct("!HH16s16s")  # ports and addresses, in network order
_ANY_INTERFACE_ANY_COOKIE = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
_UNREAD_AT = _HEADER.size + 4 + _ENDS.size + len(_ANY_INTERFACE_ANY_COOKIE) + 4
_ALL_STATES = 0xFFFFFFFF


def unread_bytes(client: socket.socket) -> int | None:
    """What the other end of this loopback IPv4 connection has received and not read; None when that end is gone."""
    try:
        here, there = client.getsockname(), client.getpeername()
    except OSError:
        return None
    with contextlib.suppress(OSError):
        return _by_diag(there, here)
    return _by_table(there, here)


def _by_diag(owner: tuple[str, int], peer: tuple[str, int]) -> int | None:
    """Ask for the one socket whose own end is `owner`. OSError where the kernel does not answer such questions."""
    addresses = [socket.inet_aton(host).ljust(16, b"\0") for host, _ in (owner, peer)]
    body = _REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0, _ALL_STATES)
    body += _ENDS.pack(owner[1], peer[1], *addresses) + _ANY_INTERFACE_ANY_COOKIE
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(1.0)
        kernel.send(_HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0) + body)
        answer = kernel.recv(4096)
    if _HEADER.unpack_from(answer)[1] == _NLMSG_ERROR:
        (number,) = struct.unpack_from("=i", answer, _HEADER.size)
        if -number == errno.ENOENT and _table_exists():
            return _by_table(owner, peer)  # gone, or a kernel whose tcp_diag is not there: the table knows
        raise OSError(-number, "sock_diag")
    return int(struct.unpack_from("=I", answer, _UNREAD_AT)[0])


def inode_of_the_other_end(client: socket.socket) -> int | None:
    """The inode of the other end of this loopback IPv4 connection, as in /proc/PID/fd; None when nobody holds it."""
    row = _row(client.getpeername(), client.getsockname())
    return int(row.split()[9]) or None if row else None


def network_inodes() -> set[int]:
    """The inodes of all sockets that lead into the network, listening ones included."""
    found: set[int] = set()
    for name in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        with contextlib.suppress(OSError):
            rows = Path(f"/proc/thread-self/net/{name}").read_text(encoding="ascii").splitlines()[1:]
            found.update(int(row.split()[9]) for row in rows)
    return found


def _table_exists() -> bool:
    return Path("/proc/thread-self/net/tcp").exists()


def _by_table(owner: tuple[str, int], peer: tuple[str, int]) -> int | None:
    row = _row(owner, peer)
    return int(row.split()[4].partition(":")[2], 16) if row else None


def _row(owner: tuple[str, int], peer: tuple[str, int]) -> str | None:
    """The table's row for the socket whose own end is `owner`."""
    ends = " ".join(f"{_in_hexadecimal(host)}:{port:04X}" for host, port in (owner, peer))
    try:
        table = Path("/proc/thread-self/net/tcp").read_text(encoding="ascii")
    except OSError:
        return None
    return next((line for line in table.splitlines() if f" {ends} " in line), None)


def _in_hexadecimal(host: str) -> str:
    """An IPv4 address as the table writes it: the number as this machine keeps it."""
    return f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}"
