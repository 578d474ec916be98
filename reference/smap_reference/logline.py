"""The one format of log lines: an event, then `field=value` for what is known of it. Pure.

    taken file=m1764000000.000001.812.0 peer=192.0.2.7 from=<a@b> to=<c>,<d> recipients=2 bytes=1204
    kept file=m1764000000.000001.812.0 reason="exit status 75"

A value with a blank, a quote or nothing in it stands in quotes. Whatever came from outside is shown with every byte
that could end, colour or forge a line as \\xNN, and cut at a bound.
"""

from . import limit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN_BYTES_MAX = 80
_LIST_BYTES_MAX = limit.LOG_LINE_BYTES_MAX // 2


def line(event: str, **fields: object) -> str:
    """One line of the log."""
    return " ".join([event, *(f"{name}={_value(str(value))}" for name, value in fields.items())])


def _value(text: str) -> str:
    return f'"{text}"' if not text or " " in text else text


def printable(text: bytes) -> str:
    """Bytes from outside, harmless and short."""
    shown = text.rstrip(b"\r\n")[:_SHOWN_BYTES_MAX]
    return "".join(chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\x{byte:02x}" for byte in shown)


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
