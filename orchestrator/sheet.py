"""The contact sheet: every texture on one page, its source beside its result beside the result tiled.

    source | result | tiled 2x2

Pictures keep their shape and are never enlarged; a result that fits its cell stands there pixel for pixel. The tiling
shows one cell's worth of the result four times, so a seam has nowhere to hide. A picture that is not there, or is none,
leaves a grey cell that says so: one bad file must not cost the sheet.

Import this module lazily: Pillow costs the command line a tenth of a second.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from orchestrator.errors import UsageError

MOST_ROWS = 40
CELL = 288  # pixels: the largest width and height of a picture on the sheet; even, for the tiling
MARGIN, GUTTER, ROW_GAP = 56, 28, 44
WIDTH = 2 * MARGIN + 3 * CELL + 2 * GUTTER
COLUMNS = ("source", "result", "tiled 2x2")

# A neutral ground: a coloured or very bright one changes how the textures' own colours look.
PAPER, EMPTY = (240, 240, 239), (221, 221, 219)
INK, FAINT = (38, 38, 40), (122, 122, 124)
TITLE, NAME, SMALL = 28, 17, 13
SPELT = str.maketrans(
    {"ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "ł": "l", "Ł": "L", "–": "-", "—": "-", "×": "x"}
)
LONGEST = 300  # characters worth measuring before a line is cut to its width


@dataclass(frozen=True)
class Row:
    """One texture: its name, the files of its source and its result, and a few words of caption ("good, 512x512")."""

    name: str
    source: Path
    result: Path
    caption: str


@dataclass(frozen=True)
class _Picture:
    """What one cell shows: the image as large as it is shown, or None; and the words below, or instead of it."""

    image: Image.Image | None
    words: str

    @property
    def height(self) -> int:
        return CELL // 3 if self.image is None else self.image.height


def compose(rows: Sequence[Row], title: str) -> Image.Image:
    """The sheet, an RGB image WIDTH pixels wide and as high as its rows; MOST_ROWS at most, the others are counted."""
    shown = rows[:MOST_ROWS]
    cells = [_cells(row) for row in shown]
    left_out = len(rows) - len(shown)
    closing = f"and {left_out} more" if left_out else "" if rows else "no textures yet"
    top = MARGIN + _line(TITLE) + 14 + _line(SMALL) + 14
    heights = [_line(NAME) + 8 + max(cell.height for cell in three) + 6 + _line(SMALL) for three in cells]
    height = top + sum(heights) + ROW_GAP * max(0, len(heights) - 1) + MARGIN
    if closing:
        height += ROW_GAP + _line(NAME)

    page = Image.new("RGB", (WIDTH, height), PAPER)
    _write(page, title, (MARGIN, MARGIN), WIDTH - 2 * MARGIN, TITLE, INK)
    for heading, left in zip(COLUMNS, _lefts(), strict=True):
        _write(page, heading, (left, top - 14 - _line(SMALL)), CELL, SMALL, FAINT)
    for row, three, high in zip(shown, cells, heights, strict=True):
        _row(page, row, three, top, high)
        top += high + ROW_GAP
    if closing:
        _write(page, closing, (MARGIN, height - MARGIN - _line(NAME)), WIDTH - 2 * MARGIN, NAME, FAINT)
    return page


def write(rows: Sequence[Row], title: str, path: Path) -> None:
    """Compose the sheet and save it at `path`, whole or not at all, in the format its suffix names.

    Raises UsageError for a suffix that names no image format, and OSError where the file cannot be written.
    """
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in ("PNG", "JPEG", "WEBP"):
        raise UsageError(
            f"{path}: a contact sheet is a .png, .jpg or .webp file", hint=f"Try {path.stem or 'sheet'}.png"
        )
    page = compose(rows, title)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        page.save(temporary, format=kind, quality=92)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _lefts() -> list[int]:
    return [MARGIN + column * (CELL + GUTTER) for column in range(len(COLUMNS))]


def _row(page: Image.Image, row: Row, cells: Sequence[_Picture], top: int, height: int) -> None:
    """Name and caption on one line, the three pictures under it, the pictures' sizes under those."""
    used = _write(page, row.name, (MARGIN, top), 2 * CELL, NAME, INK)
    caption_left = MARGIN + used + 14
    _write(page, row.caption, (caption_left, top), WIDTH - MARGIN - caption_left, SMALL, FAINT, drop=NAME - SMALL)
    pictures = top + _line(NAME) + 8
    for cell, left in zip(cells, _lefts(), strict=True):
        if cell.image is None:
            tallest = height - (pictures - top) - 6 - _line(SMALL)
            page.paste(EMPTY, (left, pictures, left + CELL, pictures + tallest))
            indent = (CELL - round(_font(NAME).getlength(cell.words))) // 2
            _write(page, cell.words, (left + indent, pictures + (tallest - _line(NAME)) // 2), CELL, NAME, FAINT)
        else:
            page.paste(cell.image, (left, pictures))
            _write(page, cell.words, (left, top + height - _line(SMALL)), CELL, SMALL, FAINT)


def _cells(row: Row) -> tuple[_Picture, _Picture, _Picture]:
    source, result = _opened(row.source), _opened(row.result)
    return _fitted(source), _fitted(result), _tiled(result)


def _opened(path: Path) -> Image.Image | str:
    """The picture, upright, in RGB, transparency laid over the paper; or a word for why there is none."""
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I"):  # 16 bits: Pillow would clip them to 8 instead of scaling
                image = image.convert("I").point(lambda value: value / 257).convert("L")
            if image.has_transparency_data:
                image = Image.alpha_composite(Image.new("RGBA", image.size, (*PAPER, 255)), image.convert("RGBA"))
            return image.convert("RGB")
    except FileNotFoundError:
        return "missing"
    except Image.DecompressionBombError:
        return "too large to show"
    except (OSError, ValueError, SyntaxError):  # what Pillow's decoders raise for damaged files
        return "unreadable"


def _shrunk(width: int, height: int, box: int) -> tuple[int, int]:
    """The size of the picture within a square of `box` pixels, its shape kept, not enlarged."""
    scale = min(1.0, box / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _fitted(image: Image.Image | str) -> _Picture:
    if isinstance(image, str):
        return _Picture(None, image)
    size = _shrunk(*image.size, CELL)
    shown = image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)
    return _Picture(shown, _measures(image.size, size))


def _tiled(image: Image.Image | str) -> _Picture:
    """The result twice across and twice down. Where it has to shrink, it shrinks as a tile does: its edge pixels mix
    with those of the opposite edge, so that the sheet neither hides a seam nor makes one."""
    if isinstance(image, str):
        return _Picture(None, image)
    (width, height), size = image.size, _shrunk(*image.size, CELL // 2)
    tile = image
    if size != image.size:
        reach = [ceil(3 * full / small) + 1 for full, small in zip(image.size, size, strict=True)]  # Lanczos: 3 pixels
        wrapped = Image.new("RGB", (width + 2 * reach[0], height + 2 * reach[1]))
        for x in range(reach[0] % width - width, wrapped.width, width):
            for y in range(reach[1] % height - height, wrapped.height, height):
                wrapped.paste(image, (x, y))
        box = (reach[0], reach[1], reach[0] + width, reach[1] + height)
        tile = wrapped.resize(size, Image.Resampling.LANCZOS, box=box)
    four = Image.new("RGB", (2 * size[0], 2 * size[1]))
    for corner in ((0, 0), (size[0], 0), (0, size[1]), size):
        four.paste(tile, corner)
    return _Picture(four, _measures((2 * width, 2 * height), four.size))


def _measures(size: tuple[int, int], shown: tuple[int, int]) -> str:
    words = f"{size[0]} x {size[1]}"
    return words if size == shown else f"{words}, shown at {max(1, round(100 * shown[0] / size[0]))}%"


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _line(size: int) -> int:
    """The height of a line of text of that size."""
    return round(size * 1.4)


def _write(
    page: Image.Image,
    text: str,
    at: tuple[int, int],
    width: int,
    size: int,
    ink: tuple[int, int, int],
    drop: int = 0,
) -> int:
    """Write one line, cut to `width` pixels, its letters `drop` lower in the line; returns the pixels it takes.

    It is drawn on a strip of its own and only that is laid on the page: whatever marks a hostile name stacks on its
    letters, they end at the strip's edge.
    """
    line = _cut(text, width, size)
    taken = min(width, ceil(_font(size).getlength(line)))
    if taken > 0:
        strip = Image.new("L", (taken, _line(size) + drop), 0)
        ImageDraw.Draw(strip).text((0, drop), line, fill=255, font=_font(size))
        page.paste(ink, at, strip)
    return taken


def _cut(text: str, width: int, size: int) -> str:
    """`text` on one line in letters the font has, with an ellipsis where it does not fit into `width` pixels."""
    line = " ".join("".join(_drawable(letter) for letter in text[: 4 * LONGEST]).split())
    if len(line) <= LONGEST and len(text) <= 4 * LONGEST and _font(size).getlength(line) <= width:
        return line
    low, high = 0, min(len(line), LONGEST)
    while low < high:  # the longest beginning that fits together with the ellipsis
        middle = (low + high + 1) // 2
        if _font(size).getlength(line[:middle].rstrip() + "…") <= width:
            low = middle
        else:
            high = middle - 1
    return line[:low].rstrip() + "…"


@lru_cache(maxsize=1024)
def _drawable(letter: str) -> str:
    """The letter, or what stands for it in Pillow's built-in font: it has hardly more than ASCII, but is there on every
    machine, and draws the same sheet on each."""
    if not letter.isprintable():
        return " "
    plain = unicodedata.normalize("NFKD", letter.translate(SPELT))
    known = "".join(part for part in plain if not unicodedata.combining(part) and _has_glyph(part))
    return known or ("" if unicodedata.combining(letter) else "?")


def _has_glyph(letter: str) -> bool:
    font = _font(NAME)
    return bytes(font.getmask(letter)) != bytes(font.getmask("\uffff"))
