"""A message of 50 MB, of every byte value, with dots and long lines, through smap and smapd; and what it took.

    python tests/reference/fifty_megabytes.py      as root

Prints the figures; exit status 1 when what the mailer got is not what the client sent, or one of the programs needed
40 MB or more of memory.
"""

import hashlib
import sys
from pathlib import Path

from own_log import Log
from own_mailer import Mailer
from programs import Installation, installation

BODY_BYTES = 50 << 20
PEAK_KB_MAX = 40 << 10


def body_of_every_kind() -> bytes:
    """Lines of all lengths and byte values, with dots where they hurt, as the client means them."""
    every = bytes(byte for byte in range(256) if byte not in b"\r\n")
    block = b"".join(
        (
            every, b"\r\n.\r\n..\r\n...", every[:9], b"\r\n\r\n.x\r\n", b"y" * 998, b"\r\n", b"long " * 20000, b"\r\n",
            b"\r", every, b"\n\r\n",
        )
    )  # fmt: skip
    return block * (BODY_BYTES // len(block) + 1)


def peak_kb(pid: int) -> int:
    """The most memory that the process has held so far."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def carry(place: Installation, log: Log, mailer: Mailer, body: bytes) -> dict[str, object]:
    """Send it, have it delivered, and tell how it arrived. The processes are looked at when all bytes went through."""
    place.table(smapd={"sendmail": mailer.path})
    client, smap = place.session(*log.before)
    client.sendall(b"HELO c.example\r\nMAIL FROM:<gate@a.example>\r\nRCPT TO:<alice@localhost>\r\nDATA\r\n")
    client.sendall(body.replace(b"\r\n.", b"\r\n..") + b".\r\n")
    received = b""
    while received.count(b"\r\n") < 6:
        part = client.recv(4096)
        assert part, received
        received += part
    smap_kb = peak_kb(smap.pid)
    client.sendall(b"QUIT\r\n")
    assert smap.wait() == 0
    smapd = place.start(*log.before, place.smapd)
    (run,) = mailer.wait_for_runs(1)  # it has read everything, and waits at the gate
    copy = int(Path(f"/proc/{smapd.pid}/task/{smapd.pid}/children").read_text("ascii"))
    copy_kb, smapd_kb = peak_kb(copy), peak_kb(smapd.pid)
    mailer.open_gate()
    log.seen(" delivered ")
    trace, _, got = run.message.partition(b"\n")
    assert trace.startswith(b"Received: from c.example ([127.0.0.1]) by "), trace
    return {
        "replies": [int(line[:3]) for line in received.splitlines()],
        "sent bytes": len(body),
        "sent sha256": hashlib.sha256(body.replace(b"\r\n", b"\n")).hexdigest(),
        "delivered sha256": hashlib.sha256(got).hexdigest(),
        "smap peak kB": smap_kb,
        "smapd peak kB": smapd_kb,
        "smapd's copy peak kB": copy_kb,
    }


def is_well(figures: dict[str, object]) -> bool:
    """Whether it arrived as it was, through little memory."""
    peaks = [value for name, value in figures.items() if name.endswith("kB")]
    return figures["sent sha256"] == figures["delivered sha256"] and all(
        isinstance(peak, int) and peak < PEAK_KB_MAX for peak in peaks
    )


def main() -> int:
    with installation() as place:
        log = Log(place.root)
        figures = carry(place, log, Mailer(place), body_of_every_kind())
        log.close()
    for name, value in figures.items():
        print(f"{name:24}{value}")
    return int(not is_well(figures))


if __name__ == "__main__":
    sys.exit(main())
