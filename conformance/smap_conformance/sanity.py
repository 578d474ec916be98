"""The sanity delivery: one mail all the way, in through smap and out through an inside MTA, compared byte for byte.

It runs first, so that a plug that does not fit is told apart from a broken rule, and last, so that a harness that fell
over on the way does not pass for a target that failed.
"""

from __future__ import annotations

from smap_simulator.mailer import Behaviour, always

from smap_conformance.expect import exactly, expect, miss
from smap_conformance.inside import inside_mta
from smap_conformance.place import Place

SENDER, RECIPIENTS = b"s@a.example", (b"alice@inside.example", b"bob@inside.example")
BODY = (
    b"From: s@a.example\r\nTo: alice@inside.example, bob@inside.example\r\nSubject: sanity\r\n"
    b"Date: Thu, 1 Jan 1998 00:00:00 +0000\r\nMessage-ID: <sanity@a.example>\r\n\r\n"
    b"a line\r\n.\r\n..two dots\r\n\r\n" + bytes(byte for byte in range(1, 256) if byte not in b"\r\n") + b"\r\n"
    b"FROM not-a-heading\r\nRCPT neither\r\nthe end\r\n"
)


def without_received(content: bytes) -> bytes:
    """A message without the Received: lines (and their continuations) at its top."""
    lines = content.split(b"\r\n")
    while lines and lines[0].lower().startswith(b"received:"):
        del lines[0]
        while lines and lines[0][:1] in (b" ", b"\t"):
            del lines[0]
    return b"\r\n".join(lines)


def deliver_one(place: Place) -> None:
    """In through the target's smap, out through its smapd; Miss tells how far it came."""
    with inside_mta() as mta:
        place.mailer.script(always(Behaviour("forwards to the inside MTA", forwards_to=mta.address)))
        gathered = place.gather(SENDER, RECIPIENTS, BODY)
        place.start_smapd()
        place.wait("smapd", "the mailer run for the whole message in the spool", place.mailer.runs)
        delivered = mta.wait_for(1, 20 * place.scale)
        if not delivered:
            miss("the inside MTA", "one message", f"none; the mailer ran {len(place.mailer.runs())} times")
        expect("the sender inside", delivered[0].sender, exactly(SENDER.decode()))
        expect("the recipients inside", delivered[0].recipients, exactly(tuple(r.decode() for r in RECIPIENTS)))
        expect("the message inside, without Received:", without_received(delivered[0].content), exactly(BODY))
        place.wait_gone(gathered)
        expect("messages inside", len(mta.delivered), exactly(1))
