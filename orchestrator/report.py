"""What is at home of finished textures: their reports, and the contact sheet made of their images."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.watch import TaskView

SHEET = "contact-sheet.png"
MAX_REPORT_BYTES = 1 << 20


class Report(NamedTuple):
    """A texture's `report.json` as far as it can be used: `size` like `256x256`, `figures` of quality, a verdict."""

    size: str
    seconds: float | None
    figures: dict[str, float]
    doubtful: frozenset[str]  # figures that mean little: the source itself is too uneven
    verdict: str
    reasons: tuple[str, ...]  # why the verdict is not better


def read(folder: Path) -> Report | None:
    """The report in a texture's folder; None where there is none, or none that can be read."""
    try:
        with open(folder / "report.json", "rb") as file:
            record = json.loads(file.read(MAX_REPORT_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    parameters, quality = _mapping(record, "parameters"), _mapping(record, "quality")
    figures = {
        name: number for name, value in _mapping(quality, "figures").items() if (number := _number(value)) is not None
    }
    reasons = quality.get("reasons")
    return Report(
        size=f"{parameters.get('width')}x{parameters.get('height')}",
        seconds=_number(_mapping(record, "seconds").get("total")),
        figures=figures,
        doubtful=frozenset(name for name, sound in _mapping(quality, "stationary").items() if sound is False),
        verdict=str(quality.get("verdict", "")),
        reasons=tuple(one for one in reasons if isinstance(one, str)) if isinstance(reasons, list) else (),
    )


def write_sheet(folder: Path, name: str, tasks: Iterable[TaskView]) -> Path | None:
    """Write the contact sheet of all textures that are at home in the folder, those of `tasks` first; None when there
    is none to show."""
    here = [path.parent.name for path in sorted(folder.glob("*/texture.png"))]
    known = set(here)
    first = [view.task.name for view in tasks if view.task.name in known]
    textures = list(dict.fromkeys([*first, *here]))
    if not textures or (folder / SHEET).is_dir():  # a task may be called so
        return None
    from orchestrator import sheet  # Pillow, only where there is something to draw

    rows = []
    for texture in textures:
        made = folder / texture
        report = read(made)
        caption = " · ".join(filter(None, [report.size, report.verdict])) if report else ""
        rows.append(sheet.Row(texture, made / "source.png", made / "texture.png", caption))
    sheet.write(rows, name, folder / SHEET)
    return folder / SHEET


def _mapping(record: dict[str, Any], key: str) -> dict[str, Any]:
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    """A finite number of a record as a float; None for anything else that JSON can hold there."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None
