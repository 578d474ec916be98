"""The report as one HTML file: templates, style and script are put into it, and nothing is fetched from anywhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from smap_conformance.report import overview
from smap_conformance.report.judged import Judged
from smap_conformance.report.visible import visible
from smap_conformance.verdict import counted

PAGES = Path(__file__).with_name("pages")
CARDS_AT_ONCE = 5  # of a rule; further ones open together


def render(judged: Sequence[Judged], kill_matrix: Path = overview.KILL_MATRIX) -> str:
    """The page. The same runs give the same text."""
    style, script = (PAGES.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return (
        environment()
        .get_template("page.html")
        .render(
            page=overview.of(judged, kill_matrix),
            style=Markup(style),  # noqa: S704 - ours
            script=Markup(script),  # noqa: S704 - ours
            policy=policy(style, script),
        )
    )


def policy(style: str, script: str) -> str:
    """The content security policy: this style, this script, and nothing else whatever a target may have written."""
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def environment() -> jinja2.Environment:
    """Every value is escaped, and every character of it made visible, without a template having to ask for it."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["counted"] = counted
    made.filters["prose"] = prose
    made.globals["at_once"] = CARDS_AT_ONCE
    return made


def prose(text: str) -> Markup:
    """A sentence of the catalogue, with what stands between backticks as code."""
    parts = visible(text).split("`")
    if len(parts) % 2 == 0:
        return escape(visible(text))
    made = [Markup("<code>{}</code>").format(part) if at % 2 else escape(part) for at, part in enumerate(parts)]
    return Markup("").join(made)


def _shown(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
