"""Sources of every kind come in as upright sRGB; what cannot be a source is refused with a sentence."""

import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import png
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from job_image.texture import images

SIZE = (48, 40)


def gradient() -> Image.Image:
    """Red grows to the right, green downwards."""
    y, x = np.meshgrid(np.arange(40), np.arange(48), indexing="ij")
    return Image.fromarray(np.stack([x * 5, y * 6, np.full_like(x, 90)], axis=2).astype(np.uint8))


def test_png_is_read_exactly(tmp_path: Path) -> None:
    gradient().save(tmp_path / "plain.png")
    found = images.read(tmp_path / "plain.png")
    assert found.dtype == np.float32 and found.shape == (40, 48, 3)
    np.testing.assert_array_equal(images.to_bytes(found), np.asarray(gradient()))


@pytest.mark.parametrize("mode", ["L", "P", "1", "YCbCr", "CMYK", "LAB"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    if mode == "LAB":
        lab = ImageCms.profileToProfile(
            gradient(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
        assert lab is not None
        made = lab
    else:
        made = gradient().convert(mode)
    made.save(tmp_path / "source.tif")
    found = images.read(tmp_path / "source.tif")
    assert found.shape == (40, 48, 3) and found.dtype == np.float32
    assert found.min() >= 0 and found.max() <= 1
    if mode in ("YCbCr", "CMYK"):
        np.testing.assert_allclose(found, np.asarray(gradient()) / 255, atol=0.02)
    if mode in ("L", "1"):
        np.testing.assert_array_equal(found[..., 0], found[..., 2])


def test_sixteen_bits_keep_their_range(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 40 * 48).reshape(40, 48).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    found = images.read(tmp_path / "deep.png")
    np.testing.assert_allclose(found[..., 1], ramp / 65535, atol=1e-4)


def test_holes_in_measured_values_are_black(tmp_path: Path) -> None:
    measured = np.full((40, 48), 0.5, np.float32)
    measured[:20], measured[-1] = np.nan, np.inf
    Image.fromarray(measured).save(tmp_path / "measured.tif")
    found = images.read(tmp_path / "measured.tif")
    assert found[0, 0, 0] == 0 and found[30, 0, 0] == 0.5 and found[-1, 0, 0] == 1


def test_rotation_from_the_camera_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter: shown, the left edge is on top
    gradient().save(tmp_path / "turned.png", exif=exif)
    found = images.read(tmp_path / "turned.png")
    assert found.shape == (48, 40, 3)
    np.testing.assert_array_equal(images.to_bytes(found), np.asarray(gradient().transpose(Image.Transpose.ROTATE_270)))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_laid_on_white(tmp_path: Path, mode: str) -> None:
    clear = gradient().convert("RGBA")
    clear.putalpha(Image.fromarray(np.repeat([[0] * 24 + [255] * 24], 40, 0).astype(np.uint8)))
    suffix = ".tif" if mode == "PA" else ".png"
    (clear if mode == "PA" else clear.convert(mode)).save(tmp_path / f"clear{suffix}")
    found = images.read(tmp_path / f"clear{suffix}")
    assert np.all(found[:, :24] == 1)
    assert found[:, 24:].mean() < 0.7


def test_a_palette_with_a_transparent_colour_is_laid_on_white(tmp_path: Path) -> None:
    Image.new("P", SIZE, 0).save(tmp_path / "clear.gif", transparency=0)
    assert np.all(images.read(tmp_path / "clear.gif") == 1)


def test_an_embedded_profile_is_used_and_a_damaged_one_ignored(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    gradient().save(tmp_path / "profile.png", icc_profile=srgb)
    gradient().save(tmp_path / "damaged.png", icc_profile=b"not a profile")
    for name in ("profile.png", "damaged.png"):
        np.testing.assert_allclose(images.read(tmp_path / name), np.asarray(gradient()) / 255, atol=0.01)


def wide_gamut_profile() -> bytes:
    """A profile of three primaries far outside sRGB (ProPhoto's), with sRGB's white and a plain square as its curve."""

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, 2 * 256) + b"\0\0"
    tags = {
        b"rXYZ": xyz(0.7977, 0.2880, 0),
        b"gXYZ": xyz(0.1352, 0.7119, 0),
        b"bXYZ": xyz(0.0313, 0.0001, 0.8249),
        b"wtpt": xyz(0.9642, 1, 0.8249),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(data))
        body += data
    header = struct.pack(">I4sI4s4s4s", 128 + len(table) + len(body), b"", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + body


@pytest.mark.parametrize("name", ["wide.png", "wide.jpg", "wide.tif", "wide.webp"])
def test_colours_of_a_wide_profile_become_srgbs(tmp_path: Path, name: str) -> None:
    Image.new("RGB", SIZE, (128, 100, 100)).save(tmp_path / name, icc_profile=wide_gamut_profile(), quality=100)
    linear = (np.array([128, 100, 100]) / 255) ** 2
    xyz_d50 = np.array([[0.7977, 0.1352, 0.0313], [0.2880, 0.7119, 0.0001], [0, 0, 0.8249]]) @ linear
    # XYZ at D50 to linear sRGB, by Bradford's adaptation (Lindbloom)
    to_srgb = [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
    plain = np.array(to_srgb) @ xyz_d50
    expected = 1.055 * plain ** (1 / 2.4) - 0.055
    assert abs(expected[0] - 128 / 255) > 0.08  # without its profile the picture would be much paler
    found = images.read(tmp_path / name)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=0.012)


def test_a_camera_jpeg_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    gradient().save(tmp_path / "turned.jpg", exif=exif, quality=98)
    expected = np.asarray(gradient().transpose(Image.Transpose.ROTATE_90)) / 255
    np.testing.assert_allclose(images.read(tmp_path / "turned.jpg"), expected, atol=0.05)


def test_ink_of_a_print_is_read_whichever_way_it_is_counted(tmp_path: Path) -> None:
    ink = gradient().convert("CMYK")
    ink.save(tmp_path / "adobe.jpg", quality=98)  # Pillow writes Adobe's way: inverted, with Adobe's mark
    assert b"Adobe" in (tmp_path / "adobe.jpg").read_bytes()
    ink.save(tmp_path / "plain.tif")
    for name in ("adobe.jpg", "plain.tif"):
        np.testing.assert_allclose(images.read(tmp_path / name), np.asarray(gradient()) / 255, atol=0.06)


def test_a_palette_with_degrees_of_transparency_is_laid_on_white(tmp_path: Path) -> None:
    picture = Image.new("P", SIZE, 1)
    picture.putpalette([0, 0, 0, 200, 0, 0, 0, 0, 200])
    picture.paste(0, (0, 0, 16, 40))
    picture.paste(2, (32, 0, 48, 40))
    picture.save(tmp_path / "palette.png", transparency=bytes([0, 51, 255]))
    found = images.to_bytes(images.read(tmp_path / "palette.png"))
    assert found[0, 0].tolist() == [255, 255, 255] and found[0, 40].tolist() == [0, 0, 200]
    np.testing.assert_allclose(found[0, 20], [244, 204, 204], atol=1)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_deep_tiffs_are_read(tmp_path: Path, order: Any, compression: str | None) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (40, 48, 3), dtype=np.uint16)
    options: dict[str, Any] = {"byteorder": order, "compression": compression}
    tifffile.imwrite(tmp_path / "rgb.tif", deep, photometric="rgb", **options)
    np.testing.assert_allclose(images.read(tmp_path / "rgb.tif"), deep / 65535, atol=1 / 255)
    tifffile.imwrite(tmp_path / "grey.tif", deep[..., 0], photometric="minisblack", **options)
    np.testing.assert_allclose(images.read(tmp_path / "grey.tif")[..., 2], deep[..., 0] / 65535, atol=1e-6)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_the_ink_that_a_scanner_counts_is_turned_into_light_once(tmp_path: Path, kind: Any) -> None:
    most = np.iinfo(kind).max
    ink = np.random.default_rng(0).integers(0, most, (40, 48), dtype=kind, endpoint=True)
    tifffile.imwrite(tmp_path / "ink.tif", ink, photometric="miniswhite")
    np.testing.assert_allclose(images.read(tmp_path / "ink.tif")[..., 0], 1 - ink / most, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_deep_pngs_are_read(tmp_path: Path, channels: int) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (40, 48, channels), dtype=np.uint16)
    with (tmp_path / "deep.png").open("wb") as out:
        writer = png.Writer(48, 40, bitdepth=16, greyscale=channels < 3, alpha=channels in (2, 4))
        writer.write(out, deep.reshape(40, -1).tolist())
    seen = deep / 65535
    if channels in (2, 4):
        seen = seen[..., :-1] * seen[..., -1:] + 1 - seen[..., -1:]
    expected = np.broadcast_to(seen, (40, 48, 3))
    np.testing.assert_allclose(images.read(tmp_path / "deep.png"), expected, atol=1e-6 if channels == 1 else 0.01)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_turned_tiff_is_put_upright(tmp_path: Path, orientation: int, kind: Any, compression: str | None) -> None:
    grey = np.random.default_rng(0).integers(0, np.iinfo(kind).max, (40, 48), dtype=kind, endpoint=True)
    tag = (0x0112, "H", 1, orientation, True)
    tifffile.imwrite(tmp_path / "turned.tif", grey, compression=compression, extratags=[tag])
    quarters = {1: 0, 3: 2, 6: -1, 8: 1}[orientation]
    expected = np.rot90(grey, quarters) / np.iinfo(kind).max
    np.testing.assert_allclose(images.read(tmp_path / "turned.tif")[..., 0], expected, atol=1e-6)


def header_of_a_huge_png(width: int, height: int) -> bytes:
    """A PNG that announces its size and begins its data."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(100))
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, data)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("size", [(10_001, 10_000), (100_000, 100_000)])
def test_a_decompression_bomb_is_refused_before_decoding(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "bomb.png").write_bytes(header_of_a_huge_png(*size))
    with pytest.raises(ValueError, match=r"bomb\.png: .*more than 100 megapixels"):
        images.read(tmp_path / "bomb.png")


def test_small_missing_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    Image.new("RGB", (31, 400)).save(tmp_path / "small.png")
    gradient().save(tmp_path / "torn.png")
    whole = (tmp_path / "torn.png").read_bytes()
    (tmp_path / "torn.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("hello")
    for name, sentence in {
        "small.png": "31x400 is too small; each side needs at least 32 pixels",
        "missing.png": "no such file",
        "torn.png": "cannot be read as an image",
        "text.png": "not an image in a known format",
    }.items():
        with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
            images.read(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small image of each format, with profile and orientation where it has them, to be damaged."""
    folder = tmp_path_factory.mktemp("samples")
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A] = 6, "maker", 1.5
    found = {}
    for suffix in ("png", "jpg", "webp", "tif", "bmp", "gif"):
        tags = {} if suffix in ("bmp", "gif") else {"exif": exif, "icc_profile": wide_gamut_profile()}
        gradient().save(folder / f"s.{suffix}", **tags)  # type: ignore[arg-type]
        found[suffix] = (folder / f"s.{suffix}").read_bytes()
    return found


@given(
    suffix=st.sampled_from(["png", "jpg", "webp", "tif", "bmp", "gif"]),
    places=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_a_flipped_byte_never_ends_in_another_error(
    samples: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory, suffix: str, places: list[tuple[int, int]]
) -> None:
    data = bytearray(samples[suffix])
    for at, byte in places:
        data[at % len(data)] = byte
    path = tmp_path_factory.getbasetemp() / "flipped"
    path.write_bytes(data)
    try:
        told = f"{path}: {images.read(path).shape}"
    except ValueError as error:
        told = str(error)
    assert told.startswith(f"{path}: ")


def test_a_jpeg_with_odd_tags_is_turned(tmp_path: Path) -> None:
    """A tag that says it is text and holds a fraction: of no importance to the picture."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 3, "maker of cameras"
    gradient().save(tmp_path / "odd.jpg", exif=exif, quality=98)
    data = (tmp_path / "odd.jpg").read_bytes()
    at = data.index(b"Exif\0\0")
    order = ">" if data[at + 6 : at + 8] == b"MM" else "<"
    text = data.index(struct.pack(order + "HH", 0x010F, 2), at)
    (tmp_path / "odd.jpg").write_bytes(data[: text + 2] + struct.pack(order + "HI", 5, 1) + data[text + 8 :])
    expected = np.asarray(gradient().transpose(Image.Transpose.ROTATE_180)) / 255
    np.testing.assert_allclose(images.read(tmp_path / "odd.jpg"), expected, atol=0.05)


def test_writing_leaves_one_whole_file(tmp_path: Path) -> None:
    target = tmp_path / "new" / "texture.png"
    images.write_png(target, np.full((4, 6, 3), 0.5, np.float32))
    assert [path.name for path in target.parent.iterdir()] == ["texture.png"]
    with Image.open(target) as written:
        assert written.size == (6, 4) and written.getpixel((0, 0)) == (128, 128, 128)
