"""Text from outside, made harmless to look at: nothing in it is invisible, and nothing turns the line around."""

from __future__ import annotations

_PICTURES = {code: 0x2400 + code for code in range(0x20) if code not in (0x09, 0x0A)} | {0x7F: 0x2421}
# C1 controls; marks of zero width; directions; separators of lines; surrogates, which no encoding takes.
_ESCAPED = (
    range(0x80, 0xA0), (0xAD,), range(0x200B, 0x2010), range(0x2028, 0x202F), range(0x2060, 0x2070), (0xFEFF,),
    range(0xD800, 0xE000), range(0xFFF9, 0xFFFC), (0xFFFE, 0xFFFF), range(0xE0000, 0xE0080),
)  # fmt: skip
_TABLE: dict[int, int | str] = {
    **_PICTURES,
    **{code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for codes in _ESCAPED for code in codes},
}


def visible(text: str) -> str:
    """The text with control characters as pictures and other invisible ones as escapes; tabs and newlines stay."""
    return text.translate(_TABLE)
