"""GATHER: no promise without the mark. What a look after the 250 may miss by a hair is seen here for certain."""

from __future__ import annotations

import os

import pytest

from smap_conformance.expect import codes, expect, not_measured
from smap_conformance.place import Place
from smap_conformance.suite.talk import BODY, GO_ON, OK, ask, envelope, nothing_taken


@pytest.mark.rule("GATHER-07")
def test_there_is_no_250_when_the_mark_cannot_be_set(place: Place) -> None:
    if not place.sandbox.means.user_change:
        not_measured("a file cannot be taken from its owner: run as root")
    session = place.open_session()
    envelope(session)
    ask(session, b"DATA", GO_ON)
    session.send(BODY)
    session.wait_read()
    partial = [file for file in place.entries() if file.kind == "file"]
    if len(partial) != 1:
        not_measured("this smap has no file in the spool while the body is being sent")
    os.chown(place.spool / partial[0].name, 0, 0)  # it can still be written to, but its mode is no longer smap's to set
    session.send(b".\r\n")
    reply = session.reply()
    if reply is not None:  # to close is an answer too
        expect("reply to the end of data of a message that cannot be marked", reply, codes("4xx", "5xx"))
    nothing_taken(place, "the end of a message that cannot be marked")
    expect("reply to the next message", place.send_mail(place.open_session(), b"next@a.example"), OK)
