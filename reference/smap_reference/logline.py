"""The one format of log lines: an event, then `field=value` for what is known of it. Pure.

    taken file=m1764000000.000001.812.0 peer=192.0.2.7 from=<a@b> to=<c>,<d> recipients=2 bytes=1204
    kept file=m1764000000.000001.812.0 reason="exit status 75"

A value with a blank or nothing in it stands in quotes, and no quote stands in a value. Every byte that could end,
colour or forge a line or a field is shown as \\xNN, wherever it came from: the names and the contents of files in
the spool directory are from outside too. What the client sent is cut at a bound, and so is the line.
"""

from . import limit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN_BYTES_MAX = 80
_LIST_BYTES_MAX = limit.LOG_LINE_BYTES_MAX // 2


def line(event: str, **fields: object) -> str:
    """One line of the log, printable ASCII, within its bound."""
    said = " ".join([event, *(f"{name}={_value(str(value))}" for name, value in fields.items())])
    return said[: limit.LOG_LINE_BYTES_MAX]


def _value(text: str) -> str:
    if '"' in text or not (text.isascii() and text.isprintable()):
        text = "".join(map(_harmless, text.encode("utf-8", "surrogateescape")))
    return f'"{text}"' if not text or " " in text else text


def _harmless(byte: int) -> str:
    return chr(byte) if 0x20 <= byte < 0x7F and byte != ord('"') else f"\\x{byte:02x}"


def printable(text: bytes) -> str:
    """Bytes from outside, harmless and short."""
    shown = text.rstrip(b"\r\n")[:_SHOWN_BYTES_MAX]
    return "".join("\\x5c" if byte == ord("\\") else _harmless(byte) for byte in shown)


def address(text: bytes) -> str:
    """An address in angle brackets; the null reverse-path is `<>`, in the envelope or without its brackets."""
    return f"<{printable(text)}>" if text != b"<>" else "<>"


def addresses(texts: "Sequence[bytes]") -> str:
    """As many addresses as fit into a line; `recipients=` tells how many there are."""
    shown = []
    size_bytes = 0
    for text in texts:
        shown.append(address(text))
        size_bytes += len(shown[-1]) + 1
        if size_bytes > _LIST_BYTES_MAX:
            shown[-1] = "..."
            break
    return ",".join(shown)


def reason(error: OSError) -> str:
    """What went wrong, in the machine's own words."""
    return error.strerror or type(error).__name__
