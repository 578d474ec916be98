"""How smapd starts: as a daemon, or as the copy of one that delivers a single message."""

import posix as os
import sys

from ..smapd import Daemon, deliver
from . import identity
from .identity import EX_OSERR, EX_USAGE, Refusal
from .machine import System, reset_signals
from .syslog import Syslog, report_bugs_to

_STANDARD_INPUT = 0
_NULL = "/dev/null"


def main() -> None:
    """The program. Does not return."""
    reset_signals()
    os.umask(0o022)
    identity.close_descriptors()
    identity.open_standard_descriptors()
    log = Syslog("smapd", 2, echo=len(sys.argv) == 1)
    report_bugs_to(log)
    try:
        status = _start(log)
    except Refusal as refusal:
        log.error(f"refused to start: {refusal}")
        status = refusal.status
    os._exit(status)


def _start(log: Syslog) -> int:
    """Daemon or copy; the exit status. Raises Refusal."""
    names = sys.argv[1:]
    if len(names) > 1 or any(name in ("", ".", "..") or name.startswith("-") or "/" in name for name in names):
        raise Refusal(
            "smapd takes no options; all settings are in netperm-table. `smapd NAME` delivers one file "
            "of the spool directory",
            EX_USAGE,
        )
    settings = identity.read_settings("smapd")
    ids = identity.user(settings)
    identity.become(ids, settings)
    identity.enter(settings, jail=False)
    if names:
        copy = System(log, {})
        copy.processes.hold_signals()  # a stop in the middle could deliver twice; the mailer is told, and we record it
        return deliver(copy, settings, names[0], _STANDARD_INPUT)
    identity.must_be_writable(settings, "directory", ".")
    identity.must_be_set_aside_to(settings)
    identity.must_be_executable(settings)
    if not _is_supervised():
        _go_into_background(log)
    log.echo = False
    daemon = System(log, identity.environment())
    daemon.processes.hold_signals()
    return Daemon(daemon, settings).run()


def _is_supervised() -> bool:
    """Whether a supervisor has detached us already: we lead a session that has no terminal."""
    if os.getsid(0) != os.getpid():
        return False
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return True
    return False


def _go_into_background(log: Syslog) -> None:
    """Leave the terminal, its session and the starter, which is told that all is well."""
    child = _fork()
    if child:
        # Not before the child has left the session: when its leader ends, those in it are hung up on.
        status = os.waitpid(child, 0)[1]
        os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else EX_OSERR)
    os.setsid()
    if _fork():
        os._exit(os.EX_OK)
    null = os.open(_NULL, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)
    log.silence()


def _fork() -> int:
    try:
        return os.fork()
    except OSError as error:
        raise Refusal(f"fork: {error.strerror}", EX_OSERR) from error
