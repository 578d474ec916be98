"""The lanes of a strip as an SVG: time runs downwards, a row is as high as the line of text beside it.

Shape and colour come from classes (page.css), so that the drawing follows light, dark and print. The text of each row
is no part of it: it stands beside, as a list that can be read aloud, selected and broken into lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from operator import attrgetter
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
    """One band for each mode, hatched where it is not settled, with a bar at its side for each lock."""
    left = _x(strip.lanes.index(lane)) - BAND // 2
    for y, height, state in _stretches(strip, lane, lambda state: state.mode):
        look = {WHOLE: "whole", PARTIAL: "partial"}.get(state.mode, "odd")
        _add(root, "rect", f"band {look}", x=left, y=y, width=BAND, height=height)
    for y, height, state in _stretches(strip, lane, lambda state: state.settled):
        for line in range(y + 4, y + height, 8) if not state.settled else ():
            _add(root, "line", "unsettled", x1=left, x2=left + BAND, y1=line + 3, y2=line - 3)
    for name, x in (("flock", left - 4), ("fcntl", left + BAND)):
        for y, height, state in _stretches(strip, lane, attrgetter(name)):
            if getattr(state, name):
                _add(root, "rect", "locked", x=x, y=y, width=4, height=height)
    for y, _, state in _stretches(strip, lane, lambda state: state.mode):
        _add(root, "text", "mode", x=left + BAND // 2, y=y + ROW // 2 + 4).text = f"{state.mode:03o}"


def _stretches(strip: Strip, lane: str, key: Callable[[FileState], object]) -> Iterator[tuple[int, int, FileState]]:
    """Where the file is there and its key stays the same: place, height, and the state at its first row."""
    y = HEAD
    for _, rows in groupby(strip.rows, lambda row: key(row.files[lane]) if lane in row.files else None):
        stretch = list(rows)
        height = ROW * len(stretch)
        if lane in stretch[0].files:
            yield y, height, stretch[0].files[lane]
        y += height


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
