"""How smap starts: on a connected socket one session, on a listening one a session for each client.

The order is the point (rules PRIV-01 to PRIV-04): descriptors, log, table, user, root, user for good, and only then
the first byte from the client. After the change of root nothing is imported or looked up any more.
"""

import _socket as socket
import gc
import posix as os
import select
import sys
import time

from .. import reply
from ..logline import line, reason
from ..smap import converse
from ..spool import is_same
from . import identity
from .identity import EX_USAGE, Refusal
from .machine import System, reset_signals
from .peer import Peer
from .syslog import Syslog, report_bugs_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal

    from ..netperm import Settings
else:
    import _signal as signal

_CLIENT = 0
_PAUSE_S = 0.2  # where the machine has no descriptors or processes left, trying at once would only make it worse


def main() -> None:
    """The program. Does not return."""
    reset_signals()
    os.umask(0o022)  # what a spool file's mode is stays with us
    identity.close_descriptors()
    client = _client()
    fallback = None if client is not None and _is_on_client(2) else 2
    identity.open_standard_descriptors()
    log = Syslog("smap", fallback)
    report_bugs_to(log)
    if client is None:
        log.error("refused to start: descriptor 0 is no socket; smap is started by inetd, see smap(8)")
        os._exit(EX_USAGE)
    if client.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        os._exit(_accept(client, log))
    os._exit(_session(client, log))


def _session(client: "socket.socket", log: Syslog) -> int:
    """One session, from the table to the farewell; the exit status."""
    peer = Peer(client)
    system = System(log, {})
    log.enclose()
    try:
        settings = _jailed()
    except Refusal as refusal:
        log.error(f"refused to start: {refusal}")
        status = refusal.status
        try:
            peer.send(reply.NOT_AVAILABLE.line(system.hostname), system.clock.monotonic())
        except (TimeoutError, ConnectionError):
            pass
    else:
        status = converse(system, peer, settings)
    peer.leave()
    return status


def _jailed() -> "Settings":
    """Read the table, change the root, become the user. Raises Refusal."""
    if len(sys.argv) > 1:
        raise Refusal("smap takes no arguments; all settings are in netperm-table", EX_USAGE)
    settings = identity.read_settings("smap")
    ids = identity.user(settings)  # while there still is a password database
    identity.enter(settings, jail=True)
    identity.become(ids, settings)
    identity.must_be_writable(settings, "directory", ".")
    return settings


def _accept(listening: "socket.socket", log: Syslog) -> int:
    """Accept clients for ever, a child for each; the exit status when the table is of no use."""
    try:
        sessions_max = identity.read_settings("smap").sessions_max
    except Refusal as refusal:
        # Take one client, tell it, and go: inetd would start us again at once for a client that still waits.
        try:
            connection, _ = listening._accept()  # type: ignore[attr-defined]
        except OSError as error:  # the client has gone meanwhile; nobody is there to be told
            log.error(line("error", reason=f"accept: {reason(error)}"))
            return refusal.status
        return _session(socket.socket(fileno=connection), log) or refusal.status
    gc.freeze()  # the children never write to what is here already, so they share it
    wake_r, wake_w = os.pipe()
    os.set_blocking(wake_w, False)
    os.set_blocking(wake_r, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
    listening.setblocking(False)
    sessions: set[int] = set()  # their process ids
    while True:
        poll = select.poll()
        poll.register(wake_r, select.POLLIN)
        if len(sessions) < sessions_max:
            poll.register(listening, select.POLLIN)
        poll.poll()
        sessions -= _reap(wake_r)
        if len(sessions) < sessions_max:
            sessions |= _fork_session(listening, log)


def _fork_session(listening: "socket.socket", log: Syslog) -> set[int]:
    """Accept one client, if there is one, and fork its session; the process ids of what that makes."""
    try:
        connection, _ = listening._accept()  # type: ignore[attr-defined]
    except BlockingIOError:
        return set()
    except OSError as error:
        log.error(line("error", reason=f"accept: {reason(error)}"))
        time.sleep(_PAUSE_S)
        return set()
    try:
        child = os.fork()
    except OSError as error:
        log.error(line("error", reason=f"fork: {reason(error)}"))
        os.close(connection)
        time.sleep(_PAUSE_S)
        return set()
    if child:
        os.close(connection)
        return {child}
    log.connect()  # the daemon may be another one by now
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    listening.detach()
    for standard in (2, 1, 0) if _is_on_client(2) else (1, 0):
        os.dup2(connection, standard)
    identity.close_descriptors(but=log.fileno())
    os._exit(_session(socket.socket(fileno=_CLIENT), log))


def _client() -> "socket.socket | None":
    """The socket on descriptor 0; None when it is something else."""
    try:
        client = socket.socket(fileno=_CLIENT)
    except OSError:
        return None
    client.setblocking(True)
    return client


def _is_on_client(fd: int) -> bool:
    """Whether what is written to `fd` goes to whom descriptor 0 goes to."""
    try:
        return is_same(os.fstat(_CLIENT), os.fstat(fd))
    except OSError:
        return True


def _reap(wake_r: int) -> set[int]:
    """Take the children that have ended: sessions, and what the starter had left to us; their process ids."""
    try:
        os.read(wake_r, 4096)
    except BlockingIOError:
        return set()
    ended = set()
    try:
        while child := os.waitpid(-1, os.WNOHANG)[0]:
            ended.add(child)
    except ChildProcessError:
        pass
    return ended
