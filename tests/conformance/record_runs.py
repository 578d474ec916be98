"""Plays scenarios with real programs under strace and leaves what was recorded, one history a file.

    python tests/conformance/record_runs.py DIRECTORY [SMAP SMAPD]      without programs: the reference

It is a program of its own because a lab changes the process that opens it: its mount namespace, its children. Exit
status 77: what is missing here is printed.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from smap_conformance import target
from smap_conformance.lab import Lab, Settings
from smap_conformance.place import Place
from smap_conformance.tracing import Trace
from smap_conformance.users import user_for_targets
from smap_simulator import client, history
from smap_simulator.mailer import PERMFAIL, TEMPFAIL, Script, always, first

NOT_MEASURED = 77
TWO = client.HELO + client.transaction() + client.transaction(b"t@b.example", (b"bob@localhost",)) + client.QUIT
REFUSED = client.HELO + client.transaction(body=b"x" * 2000 + b"\r\n") + client.QUIT


def session(place: Place, script: bytes) -> None:
    """One client that sends everything at once, and reads to the end."""
    talk = place.connect()
    talk.send(script)
    talk.read_to_eof()
    talk.close()
    talk.exit_status()


def deliver(place: Place, runs: int, script: Script | None = None) -> None:
    """One smapd, until the mailer was run so often and the spool is as it will be."""
    place.mailer.script(script or Script())
    smapd = place.start_smapd()
    place.wait_runs(runs)
    place.wait("the spool", "no message", lambda: not place.whole())
    smapd.outcome()
    smapd.signal(15)
    smapd.wait_end()


def one_message(place: Place) -> None:
    session(place, client.SESSION)


def two_messages(place: Place) -> None:
    session(place, TWO)


def one_refused(place: Place) -> None:
    place.table(smap={"maxbytes": 1000})
    session(place, REFUSED)


def delivered(place: Place) -> None:
    session(place, client.SESSION)
    deliver(place, 1)


def set_aside(place: Place) -> None:
    session(place, client.SESSION)
    deliver(place, 1, always(PERMFAIL))


def kept_then_delivered(place: Place) -> None:
    session(place, client.SESSION)
    deliver(place, 2, first(1, TEMPFAIL))


RUNS: dict[str, Callable[[Place], None]] = {
    "one message": one_message,
    "two messages": two_messages,
    "one refused": one_refused,
    "delivered": delivered,
    "set aside": set_aside,
    "kept, then delivered": kept_then_delivered,
}


def main() -> int:
    directory, programs = Path(sys.argv[1]), sys.argv[2:]
    lab = Lab(Settings(target.from_paths(*programs) if programs else None, user_for_targets()))
    try:
        for name, run in RUNS.items():
            with lab.place(trace=Trace()) as place:
                run(place)
                history.save(place.recording().history, directory / f"{name}.jsonl")
    except pytest.skip.Exception as missing:
        print(missing)
        return NOT_MEASURED
    finally:
        lab.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
