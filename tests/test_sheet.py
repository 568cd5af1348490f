"""The contact sheet puts the right pixels in the right cells, and nothing a file or a name holds breaks the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from orchestrator import sheet
from orchestrator.errors import UsageError
from orchestrator.sheet import CELL, EMPTY, GUTTER, MARGIN, PAPER, WIDTH, Row, compose, write

LEFTS = [MARGIN + column * (CELL + GUTTER) for column in range(3)]


def noise(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    # Darker than the paper, so that a picture's edge can be told from it.
    return np.random.default_rng(seed).integers(0, 200, (height, width, 3), np.uint8)


def saved(path: Path, pixels: NDArray[np.uint8]) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def pictures_top(page: NDArray[np.uint8], left: int, colour: tuple[int, int, int] | None = None) -> int:
    """The first row where the column at `left` holds a picture (or `colour`) over the whole width of 20 pixels."""
    strip = page[:, left : left + 20].astype(int)
    there = (strip == colour).all((1, 2)) if colour else (strip.max(2) < 200).all(1)
    return int(np.flatnonzero(there)[0])


def test_result_stands_pixel_for_pixel_and_tiles_exactly(tmp_path: Path) -> None:
    source, result = noise(144, 100, 1), noise(120, 90, 2)
    row = Row("moss", saved(tmp_path / "source.png", source), saved(tmp_path / "result.png", result), "good")
    page = np.asarray(compose([row], "forest"))
    top = pictures_top(page, LEFTS[0])
    assert page.shape[1] == WIDTH
    assert (page[top : top + 100, LEFTS[0] : LEFTS[0] + 144] == source).all()
    assert (page[top : top + 90, LEFTS[1] : LEFTS[1] + 120] == result).all()
    assert (page[top : top + 180, LEFTS[2] : LEFTS[2] + 240] == np.tile(result, (2, 2, 1))).all()
    assert (page[top : top + 90, LEFTS[1] + 120 : LEFTS[2]] == PAPER).all()
    assert (page[top - 1, LEFTS[0] : LEFTS[2] + CELL] == PAPER).all()


def test_large_pictures_shrink_to_their_cell_and_keep_their_shape(tmp_path: Path) -> None:
    path = saved(tmp_path / "wide.png", noise(600, 200))
    page = np.asarray(compose([Row("wide", path, path, "")], "forest"))
    top = pictures_top(page, LEFTS[0])
    expected = np.asarray(Image.fromarray(noise(600, 200)).resize((288, 96), Image.Resampling.LANCZOS))
    for left in LEFTS[:2]:
        assert (page[top : top + 96, left : left + 288] == expected).all()
        assert (page[top + 96, left : left + 288] == PAPER).all()
    tiled = page[top : top + 96, LEFTS[2] : LEFTS[2] + 288]
    assert (tiled[:48] == tiled[48:]).all() and (tiled[:, :144] == tiled[:, 144:]).all()


def test_a_shrunken_tile_wraps(tmp_path: Path) -> None:
    """Rolling a result by whole shrunken pixels rolls its tile, edge pixels included: the wrap is where it was."""
    result = noise(576, 576)
    tiles = []
    for name, image in (("still", result), ("rolled", np.roll(result, (40, 200), (0, 1)))):
        path = saved(tmp_path / f"{name}.png", image)
        page = np.asarray(compose([Row(name, path, path, "")], "forest"))
        top = pictures_top(page, LEFTS[0])
        tiles.append(page[top : top + 144, LEFTS[2] : LEFTS[2] + 144])
    assert (np.roll(tiles[0], (10, 50), (0, 1)) == tiles[1]).all()


def test_rows_follow_one_another_in_order(tmp_path: Path) -> None:
    rows = []
    for number, colour in enumerate([(200, 0, 0), (0, 150, 0), (0, 0, 180)]):
        pixels = np.full((64 + 40 * number, 64, 3), colour, np.uint8)
        path = saved(tmp_path / f"{number}.png", pixels)
        rows.append(Row(str(number), path, path, ""))
    page = np.asarray(compose(rows, "forest"))
    tops = [pictures_top(page, LEFTS[1], colour) for colour in [(200, 0, 0), (0, 150, 0), (0, 0, 180)]]
    assert tops == sorted(tops)
    for number, (top, after) in enumerate(zip(tops, [*tops[1:], len(page)], strict=True)):
        assert top + 2 * (64 + 40 * number) < after  # the tiling ends before the next row begins


def test_what_is_not_there_or_is_no_picture_is_a_grey_cell(tmp_path: Path) -> None:
    good = saved(tmp_path / "good.png", noise(100, 100))
    torn = tmp_path / "torn.png"
    torn.write_bytes(good.read_bytes()[:200])
    words = tmp_path / "words.png"
    words.write_text("not a picture")
    for bad in (tmp_path / "gone.png", torn, words, tmp_path):
        page = np.asarray(compose([Row("moss", good, bad, "")], "forest"))
        top = pictures_top(page, LEFTS[0])
        for left in LEFTS[1:]:
            assert (page[top : top + 20, left : left + CELL] == EMPTY).all()
            assert (page[top + 100 : top + 220, left : left + 1] != EMPTY).any()
            assert (page[top : top + 200, left : left + CELL] < 180).any(), "no word in the empty cell"
    assert sheet._opened(tmp_path / "gone.png") == "missing"
    assert sheet._opened(torn) == sheet._opened(words) == sheet._opened(tmp_path) == "unreadable"


def test_a_picture_beyond_pillows_limit_is_a_grey_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "vast.png", noise(100, 100))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    assert sheet._opened(path) == "too large to show"


def test_sixteen_bits_transparency_and_camera_turns_look_as_they_should(tmp_path: Path) -> None:
    deep = tmp_path / "deep.png"
    Image.fromarray(np.full((40, 40), 257 * 90, np.uint16)).save(deep)
    assert colour_of(deep) == (90, 90, 90)
    clear = tmp_path / "clear.png"
    Image.new("RGBA", (40, 40), (255, 0, 0, 0)).save(clear)
    assert colour_of(clear) == PAPER
    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(turned, exif=exif)
    image = sheet._opened(turned)
    assert isinstance(image, Image.Image) and image.size == (20, 40)


def colour_of(path: Path) -> object:
    image = sheet._opened(path)
    assert isinstance(image, Image.Image)
    return image.getpixel((20, 20))


def test_forty_rows_and_a_count_of_the_rest(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", noise(8, 8))
    row = Row("a", path, path, "")
    assert compose([row] * 52, "forest").height == compose([row] * 41, "forest").height
    assert compose([row] * 52, "forest").height > compose([row] * 40, "forest").height
    assert compose([row] * 52, "forest").tobytes() != compose([row] * 41, "forest").tobytes()


def test_no_rows_is_still_a_page() -> None:
    assert compose([], "forest").width == WIDTH


@settings(max_examples=25, deadline=None)
@given(title=st.text(), name=st.text(), caption=st.text())
def test_no_text_leaves_its_place(title: str, name: str, caption: str) -> None:
    check_margins(title, name, caption)


@pytest.mark.parametrize(
    "text",
    [
        "W" * 10_000,
        "a\nb\tc\x00\x1b[31m\u202e",
        "z" + "\u0351\u0301" * 500,
        "木" * 200,
        "\udcff\ud800",
        "🧶" * 90,
        " " * 5000,
    ],
)
def test_hostile_text_stays_in_its_place(text: str) -> None:
    check_margins(text, text, text)


def check_margins(title: str, name: str, caption: str) -> None:
    nowhere = Path("nowhere.png")
    page = np.asarray(compose([Row(name, nowhere, nowhere, caption)], title))
    plain = np.asarray(compose([Row("", nowhere, nowhere, "")], ""))
    assert page.shape == plain.shape
    assert (page[:, :MARGIN] == PAPER).all() and (page[:, -MARGIN:] == PAPER).all()
    assert (page[:MARGIN] == PAPER).all() and (page[-MARGIN:] == PAPER).all()
    top = pictures_top(page, LEFTS[0], EMPTY)
    assert (page[top:] == plain[top:]).all(), "a name reached into the pictures"


@pytest.mark.parametrize(
    ("name", "drawn"),
    [("Ångström, Größe", "Angstrom, Grosse"), ("Smørbrød", "Smorbrod"), ("木目", "??"), ("a\n b", "a b")],
)
def test_letters_the_font_lacks_are_spelt_or_marked(name: str, drawn: str) -> None:
    assert sheet._cut(name, 1000, sheet.NAME) == drawn


def test_a_line_too_long_ends_in_an_ellipsis_within_its_width() -> None:
    line = sheet._cut("many words " * 40, 200, sheet.NAME)
    assert line.startswith("many words") and line.endswith("…")
    font = sheet._font(sheet.NAME)
    assert 160 < ImageDraw.Draw(Image.new("L", (1, 1))).textlength(line, font=font) <= 200


def test_write_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.png", noise(32, 32))
    out = tmp_path / "out"
    out.mkdir()
    rows = [Row("a", path, path, "")]
    for name in ("sheet.png", "sheet.JPG", "sheet.webp"):
        write(rows, "forest", out / name)
        with Image.open(out / name) as written:
            assert written.size == compose(rows, "forest").size
    before = (out / "sheet.png").read_bytes()
    assert len(list(out.iterdir())) == 3

    def full_disk(_image: Image.Image, fp: Path, **_: object) -> None:
        fp.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        write(rows, "forest", out / "sheet.png")
    assert (out / "sheet.png").read_bytes() == before
    assert len(list(out.iterdir())) == 3


def test_a_suffix_that_is_no_picture_is_refused_with_one_that_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        write([], "forest", tmp_path / "sheet.pdf")
    assert refused.value.hint == "Try sheet.png"
    assert not list(tmp_path.iterdir())
