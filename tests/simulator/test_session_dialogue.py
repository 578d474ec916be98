"""Which reply promises which message: told from the client's bytes and the codes alone."""

from smap_simulator import client
from smap_simulator.dialogue import Dialogue


def played(script: bytes, codes: str, *, sent: int | None = None) -> tuple[Dialogue, list[str]]:
    dialogue = Dialogue(1, script)
    dialogue.sent_bytes = len(script) if sent is None else sent
    return dialogue, [dialogue.reply(int(code)) for code in codes.split()]


FIRST, SECOND = "session 1 message 1", "session 1 message 2"


def test_the_reply_to_the_end_of_data_promises() -> None:
    dialogue, promises = played(client.SESSION, "220 250 250 250 354 250 221")
    assert promises == ["", "", "", "", "", FIRST, ""]
    (message,) = dialogue.messages
    assert (message.sender, message.recipients) == ("s@a.example", ("alice@localhost",))
    assert (message.body, message.ended) == (client.BODY, True)


def test_a_refusal_promises_nothing_and_the_next_message_counts() -> None:
    script = client.HELO + client.transaction() + client.transaction(b"", (b"bob@localhost",), b".\r\n..a\r\nb\r\n")
    dialogue, promises = played(script, "220 250 250 250 354 452 250 250 354 250")
    assert promises == [""] * 9 + [SECOND]
    assert [message.id for message in dialogue.messages] == [FIRST, SECOND]
    assert (dialogue.messages[1].sender, dialogue.messages[1].body) == ("", b".\r\n..a\r\nb\r\n")


def test_only_accepted_recipients_are_the_message_s() -> None:
    script = client.HELO + client.transaction(recipients=(b"a@x", b"b@x", b"c@x"))
    dialogue, _ = played(script, "220 250 250 250 550 250 354 250")
    assert dialogue.messages[0].recipients == ("a@x", "c@x")


def test_data_that_was_refused_is_no_message() -> None:
    dialogue, promises = played(client.HELO + client.transaction(), "220 250 250 550 503 500 500 500 500")
    assert dialogue.messages == []
    assert not any(promises)


def test_an_empty_message() -> None:
    dialogue, promises = played(client.HELO + client.transaction(body=b""), "220 250 250 250 354 250")
    assert promises[-1] == FIRST
    assert dialogue.messages[0].body == b""


def test_a_message_without_its_end_is_told_and_promised_by_nothing() -> None:
    dialogue, promises = played(client.SESSION[:-12], "220 250 250 250 354 250")
    assert not any(promises)
    assert [message.ended for message in dialogue.messages] == [False]


def test_a_reply_before_the_end_was_sent_is_no_promise() -> None:
    end = client.SESSION.index(b"\r\n.\r\n") + 4
    assert played(client.SESSION, "220 250 250 250 354 250", sent=end)[1][-1] == ""
    assert played(client.SESSION, "220 250 250 250 354 250", sent=end + 1)[1][-1] == FIRST


def test_a_line_answered_before_its_end_is_answered_once() -> None:
    script = b"X" * 2000 + b"\r\n" + client.SESSION
    dialogue = Dialogue(1, script)
    dialogue.sent_bytes = 1500
    dialogue.reply(220)
    dialogue.reply(500)
    dialogue.sent_bytes = len(script)
    assert [dialogue.reply(code) for code in (250, 250, 250, 354, 250)][-1] == FIRST


def test_after_421_nothing_is_answered() -> None:
    assert not any(played(client.SESSION, "220 250 250 250 354 421 250")[1])
