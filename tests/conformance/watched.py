"""Programs that are watched by strace: who they are, how they end, what strace leaves. Prints facts as JSON.

    python tests/conformance/watched.py        exit status 77: what is missing here is printed

A program of its own, as `record_runs` is.
"""

import json
import os
import sys
from collections.abc import Callable

import pytest
from record_runs import NOT_MEASURED
from smap_conformance import offspring
from smap_conformance.lab import Lab, Settings
from smap_conformance.place import Place
from smap_conformance.tracing import Trace
from smap_conformance.users import user_for_targets
from smap_simulator.mailer import HANGS_DEAF, always

Facts = dict[str, object]


def a_session(place: Place) -> Facts:
    """The process that serves is smap, with the id that it would have had, and its status is its own."""
    session = place.open_session()
    served, held = offspring.command_line(session.pid), offspring.children(session.pid)
    tracers = [offspring.command_line(pid) for pid in place.traces[0].tracers()]
    session.command(b"QUIT")
    ended = session.read_to_eof()
    return {
        "serves": served.partition("reference/")[2],
        "strace below it": held,
        "straces": [tracer.partition(" ")[0].rpartition("/")[2] for tracer in tracers],
        "rest": ended.decode(),
        "status": session.exit_status(),
    }


def a_smapd(place: Place) -> Facts:
    """The daemon is smapd alone, whatever else was started since."""
    smapd = place.start_smapd()
    status = smapd.outcome()
    session = place.open_session()
    daemons = [offspring.command_line(pid).partition("reference/")[2] for pid in smapd.daemons()]
    session.close()
    smapd.signal(15)
    smapd.wait_end()
    return {"status": status, "daemons": daemons, "running": smapd.running(), "refused": smapd.refused()}


def a_kill(place: Place) -> Facts:
    """SIGKILL to smapd and its hanging mailer: strace goes by itself, and its log has their ends."""
    place.mailer.script(always(HANGS_DEAF))
    place.gather()
    smapd = place.start_smapd()
    place.wait_runs(1, finished=False)
    smapd.kill()
    place.wait("strace", "its end", lambda: all(traced.settled() for traced in place.traces))
    ends = [(end.program, end.status) for end in place.traces[-1].items() if hasattr(end, "status")]
    return {"ends": sorted(ends), "notes": place.recording().history.notes}


def an_injected_fault(place: Place) -> Facts:
    """A rule meets the call that it names, in the process that it names, and no other."""
    session = place.open_session(trace=Trace(inject=("fsync:error=EIO:when=2",)))
    reply = place.send_mail(session)
    met = [(call.program, call.name, call.occurrence, call.errno) for call in place.traces[-1].injected()]
    return {"reply": reply.code if reply else None, "met": met}


def a_kill_before_a_call(place: Place) -> Facts:
    """SIGKILL by a rule comes before the call, and the recording knows it."""
    session = place.open_session(trace=Trace(inject=("fchmod:signal=KILL:when=1",)))
    reply = place.send_mail(session)
    status = session.exit_status()
    modes = [f"{file.mode & 0o7777:o}" for file in place.entries()]
    history = place.recording().history
    return {
        "reply": reply,
        "status": status,
        "modes": modes,
        "met": len(place.traces[-1].injected()),
        "notes": history.notes,
    }


def less_room(place: Place) -> Facts:
    """Words before the program are about the program, not about strace."""
    session = place.open_session(trace=Trace(before=("prlimit", "--fsize=1000", "--")))
    reply = place.send_mail(session, body=b"x" * 800 + b"\r\n" + b"y" * 800 + b"\r\n")
    return {"reply": reply.code if reply else None, "log": len(place.traces[-1].text()) > 1000}


def left_at_work(place: Place) -> Facts:
    """A place that closes while everybody is at work."""
    place.open_session()
    place.start_smapd().outcome()
    told = place.recording()
    return {"notes": told.history.notes, "replies": len(told.history.events) > 0}


def an_unseen_hand(place: Place) -> Facts:
    """What the harness puts there is told; what else somebody changes there is noted."""
    place.open_session().close()
    place.put("put", b"there from the beginning")
    before = place.recording().history
    (place.spool / "put").chmod(0o600)
    after = place.recording().history
    return {"before": before.notes, "after": after.notes, "start": sorted(before.start.directory("spool"))}


SHOWS: tuple[Callable[[Place], Facts], ...] = (
    a_session, a_smapd, a_kill, an_injected_fault, a_kill_before_a_call, less_room, left_at_work, an_unseen_hand,
)  # fmt: skip


def main() -> int:
    lab = Lab(Settings(None, user_for_targets()))
    facts: dict[str, Facts] = {}
    left: dict[str, list[int]] = {}
    try:
        for show in SHOWS:
            with lab.place(trace=Trace()) as place:
                found = show(place)
            facts[show.__name__] = found
            left[show.__name__] = offspring.descendants(os.getpid())
    except pytest.skip.Exception as missing:
        print(missing)
        return NOT_MEASURED
    finally:
        lab.close()
    print(json.dumps({**facts, "left": left}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
