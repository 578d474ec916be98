"""The lanes of a strip as an SVG: time runs downwards, a row is as high as the line of text beside it.

Shape and colour come from classes (page.css), so that the drawing follows light, dark and print. The text of each row
is no part of it: it stands beside, as a list that can be read aloud, selected and broken into lines.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from markupsafe import Markup

from smap_conformance.report.lanes import FileState, Row, Strip
from smap_conformance.report.visible import visible

ROW, HEAD, LANE = 24, 30, 46  # pixels; ROW is also the height of a line of the list
BAND = 30
WHOLE, PARTIAL = 0o755, 0o644


def svg(strip: Strip) -> Markup:
    """The drawing. Only letters, modes and names of programs are written in it, each escaped."""
    width, height = LANE * len(strip.lanes), HEAD + ROW * len(strip.rows)
    label = f"time line: {', '.join(strip.lanes)}, {len(strip.rows)} rows; the list beside it says the same in words"
    root = ET.Element(
        "svg",
        {"class": "strip", "width": str(width), "height": str(height), "viewBox": f"0 0 {width} {height}",
         "role": "img", "aria-label": visible(label)},
    )  # fmt: skip
    for at, lane in enumerate(strip.lanes):
        x = _x(at)
        if lane not in strip.files:
            _add(root, "line", "lane", x1=x, x2=x, y1=HEAD - 4, y2=height)
        name = _add(root, "text", "head file" if lane in strip.files else "head", x=x, y=HEAD - 12)
        name.text = f"file {lane}" if lane in strip.files else visible(lane[:9])
    for lane in strip.files:
        _bands(root, strip, lane)
    for number, row in enumerate(strip.rows):
        _mark(root, strip, row, HEAD + ROW * number + ROW // 2)
    return Markup(ET.tostring(root, encoding="unicode", short_empty_elements=False))  # noqa: S704 - ET has escaped it


def _x(at: int) -> int:
    return LANE * at + LANE // 2


def _add(parent: ET.Element, tag: str, look: str, **places: object) -> ET.Element:
    attributes = {name.replace("_", "-"): str(value) for name, value in places.items()}
    return ET.SubElement(parent, tag, {"class": look, **attributes})


def _bands(root: ET.Element, strip: Strip, lane: str) -> None:
    """One band for each stretch of rows in which the file stays the same."""
    x = _x(strip.lanes.index(lane))
    start: int | None = None
    for number in range(len(strip.rows) + 1):
        state = strip.rows[number].files.get(lane) if number < len(strip.rows) else None
        before = strip.rows[number - 1].files.get(lane) if number else None
        if _look(state) == _look(before):
            continue
        if start is not None and before is not None:
            _band(root, x, start, number, before)
        if state is not None and (before is None or before.mode != state.mode):
            told = _add(root, "text", "mode", x=x, y=HEAD + ROW * number + ROW // 2 + 4)
            told.text = f"{state.mode:03o}"
        start = number if state is not None else None
    for text in [each for each in root if each.get("class") == "mode" and each.get("x") == str(x)]:
        root.remove(text)  # on top of the bands
        root.append(text)


def _look(state: FileState | None) -> tuple[object, ...] | None:
    return None if state is None else (state.mode, state.flock, state.fcntl, state.settled)


def _band(root: ET.Element, x: int, first: int, last: int, state: FileState) -> None:
    y, height = HEAD + ROW * first, ROW * (last - first)
    mode = {WHOLE: "whole", PARTIAL: "partial"}.get(state.mode, "odd")
    left = x - BAND // 2
    _add(root, "rect", f"band {mode}", x=left, y=y, width=BAND, height=height)
    if not state.settled:
        for line in range(y + 4, y + height, 8):
            _add(root, "line", "unsettled", x1=left, x2=left + BAND, y1=line + 3, y2=line - 3)
    if state.flock:
        _add(root, "rect", "locked", x=left - 4, y=y, width=4, height=height)
    if state.fcntl:
        _add(root, "rect", "locked", x=left + BAND, y=y, width=4, height=height)


def _mark(root: ET.Element, strip: Strip, row: Row, y: int) -> None:
    """What a row is: an arrow, a point, the line of a barrier or of the cut."""
    width = LANE * len(strip.lanes)
    look = f"{row.kind} {'omitted' if row.durable in ('NO', 'part') else ''}".strip()
    if row.kind == "cut":
        _add(root, "line", look, x1=0, x2=width, y1=y, y2=y)
        return
    if row.lane not in strip.lanes:
        return
    here = _x(strip.lanes.index(row.lane))
    there = _x(strip.lanes.index(row.to)) if row.to in strip.lanes else here
    if here == there:
        _point(root, look, here, y)
        return
    sign = 1 if there > here else -1
    end = there - sign * (BAND // 2 + 6 if row.to in strip.files else 3)
    _add(root, "line", f"arrow {look}", x1=here, x2=end - sign * 5, y1=y, y2=y)
    _add(root, "circle", f"tail {look}", cx=here, cy=y, r=2.5)
    if row.kind == "barrier":
        bar = _add(root, "rect", f"tip {look}", x=end - 3, y=y - 7, width=3, height=14)
        bar.set("rx", "1")
    elif row.durable in ("NO", "part"):
        _cross(root, end - sign * 5, y)
    else:
        _add(root, "path", f"tip {look}", d=f"M{end} {y}l{-sign * 7} -4v8z")


def _point(root: ET.Element, look: str, x: int, y: int) -> None:
    if look.startswith(("fault", "killed")) or "omitted" in look:
        _cross(root, x, y)
    elif look.startswith("barrier"):
        _add(root, "rect", f"tip {look}", x=x - 8, y=y - 2, width=16, height=4)
    else:
        _add(root, "circle", f"tip {look}", cx=x, cy=y, r=4)


def _cross(root: ET.Element, x: int, y: int) -> None:
    _add(root, "path", "cross", d=f"M{x - 5} {y - 5}l10 10m0 -10l-10 10")
