"""Sources of every kind come in as upright sRGB; what cannot be a source is refused with a sentence."""

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
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


def test_writing_leaves_one_whole_file(tmp_path: Path) -> None:
    target = tmp_path / "new" / "texture.png"
    images.write_png(target, np.full((4, 6, 3), 0.5, np.float32))
    assert [path.name for path in target.parent.iterdir()] == ["texture.png"]
    with Image.open(target) as written:
        assert written.size == (6, 4) and written.getpixel((0, 0)) == (128, 128, 128)
