"""Draw docs/dialogue.md from the session's table of transitions: `python docs/draw_dialogue.py`."""

from collections.abc import Iterator
from pathlib import Path

from smap_reference.command import VERBS
from smap_reference.session import ENDED, GATHERING, GREETED, RECIPIENTS, SENDER, START, TRANSITIONS

PAGE = Path(__file__).resolve().parent / "dialogue.md"

HEAD = """\
# The dialogue with one client

Drawn from `TRANSITIONS` in `reference/smap_reference/session.py` by `docs/draw_dialogue.py`: change the table, and draw
again.

A session is in one of six states. A command that has no place in its state gets 503 and changes nothing. Nor does any
other refusal of a command, but for a DATA that the machine cannot serve.
"""
STATES = {
    START: "the client has not said who it is.",
    GREETED: "it has; no message is under way.",
    SENDER: "MAIL was taken: there is a sender, and no recipient yet.",
    RECIPIENTS: "there is a sender, and at least one recipient.",
    GATHERING: "what comes is the message, up to CRLF . CRLF; no line of it is a command.",
    ENDED: "the last reply has been sent, and nothing more is read.",
}
ORDER = (b"HELO", b"EHLO", b"MAIL", b"RCPT", b"DATA", b"RSET", b"NOOP", b"VRFY", b"QUIT")
ACTIONS = {
    "_hello": "250. Takes the client's name, and forgets the transaction. EHLO offers no extensions.",
    "_mail": "250. Takes the sender; `<>` is the null reverse-path.",
    "_rcpt": "250. Takes one more recipient. Those past `maxrecip` get 452, and the message goes on without them.",
    "_data": "354, once the spool file is open and has its heading; else 452 or 451, and the transaction is forgotten.",
    "_forget": "250. Forgets the transaction; the client's name stays.",
    "_noop": "250. Does nothing.",
    "_vrfy": "252. Tells nothing about anybody.",
    "_quit": "221. Closes the connection; what the client sent after it is not read.",
}
END_OF_DATA = "end of data"
OTHER_ENDS = """\
- **end of data**: 250, once the whole message and its mark are on stable storage, and not before. 552 when it is over
  `maxbytes`, 452 or 451 when the machine failed. The transaction is forgotten either way.

Besides the table, in every state but *gathering* and *ended*: what is no command is 500, 501, 502, 553 or 555. A web
browser's request is 421 and the end, and so is one refusal too many. In every state the time-out is 421 and the end.
"""


def edges() -> Iterator[tuple[str, list[str], str]]:
    """From, what is said, to; the commands that lead the same way are drawn as one."""
    for state in STATES:
        if state == GATHERING:
            yield state, [END_OF_DATA], GREETED  # no command, and so no row of the table
        for after in STATES:
            verbs = [verb.decode() for verb in ORDER if TRANSITIONS.get((state, verb), ("", ""))[1] == after]
            if verbs:
                yield state, verbs, after


def table() -> Iterator[str]:
    """State by verb: the state after it."""
    yield "| in | " + " | ".join(verb.decode() for verb in ORDER) + " |"
    yield "|---" * (len(ORDER) + 1) + "|"
    for state in STATES:
        rows = [TRANSITIONS.get((state, verb)) for verb in ORDER]
        if any(rows):
            cells = ["503" if row is None else "stays" if row[1] == state else f"*{row[1]}*" for row in rows]
            yield f"| **{state}** | " + " | ".join(cells) + " |"


def sentences() -> Iterator[str]:
    """What each command does, in the order of the table; commands that do the same share a line."""
    done: dict[str, list[str]] = {}
    for verb in ORDER:
        for action in dict.fromkeys(row[0] for (_, of), row in TRANSITIONS.items() if of == verb):
            done.setdefault(action, []).append(verb.decode())
    for action, verbs in done.items():
        yield f"- **{', '.join(verbs)}**: {ACTIONS[action]}"


def page() -> str:
    """The whole page."""
    assert set(ORDER) == VERBS, "a verb that the page does not know"
    drawn = [HEAD, *(f"- **{state}**: {meaning}" for state, meaning in STATES.items()), ""]
    drawn += ["## State, command, state after it", "", *table(), ""]
    drawn += ["## The same as a picture", "", "```mermaid", "stateDiagram-v2", f"    [*] --> {START}"]
    drawn += [f"    {state} --> {after}: {', '.join(said)}" for state, said, after in edges()]
    drawn += [f"    {ENDED} --> [*]", "```", "", "## What each does", "", *sentences()]
    return "\n".join(drawn) + "\n" + OTHER_ENDS


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
