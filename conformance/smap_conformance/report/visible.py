"""Text from outside, made harmless to look at: nothing in it is invisible, and nothing turns the line around."""

from __future__ import annotations

# C0, DEL and C1 controls except tab and newline; marks of zero width; directions; separators of lines; surrogates,
# which no encoding takes.
_ESCAPED = (
    range(0x09), range(0x0B, 0x20), range(0x7F, 0xA0), (0xAD,), range(0x200B, 0x2010), range(0x2028, 0x202F),
    range(0x2060, 0x2070), (0xFEFF,), range(0xD800, 0xE000), range(0xFFF9, 0xFFFC), (0xFFFE, 0xFFFF),
    range(0xE0000, 0xE0080),
)  # fmt: skip
_TABLE = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for codes in _ESCAPED for code in codes}


def visible(text: str) -> str:
    """The text with everything invisible written as an escape; tabs and newlines stay."""
    return text.translate(_TABLE)
