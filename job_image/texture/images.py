"""Reading, writing and resizing images. In the engine each is float32, (height, width, 3), sRGB in [0, 1]."""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION, TiffImageFile

from .parameters import SMALLEST_SIDE

Pixels = npt.NDArray[np.float32]

MOST_PIXELS = 100_000_000
"""Larger images are refused before they are decoded: a few kilobytes can unfold to gigabytes."""

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
"""What is read. Pillow knows more, some by starting other programs (EPS): nothing that a stranger's file may choose."""


def read(path: Path) -> Pixels:
    """The image in a file, upright, as sRGB.

    Raises ValueError, with a sentence that names the file, when it is missing, is not an image, is damaged, has more
    than 100 megapixels or has a side under 32 pixels.
    """
    with ExitStack() as stack:
        with told(path):
            # Pillow is given the open file, not its name: named ones it maps into memory, and Pillow 13 then gets a
            # turned TIFF of one strip wrong.
            image = Image.open(stack.enter_context(path.open("rb")), formats=FORMATS)
        check_size(path, image.width, image.height)
        with told(path):
            pixels = to_srgb(image)
    return pixels


@contextmanager
def told(path: Path) -> Iterator[None]:
    """What Pillow raises becomes a ValueError that names the file: of a damaged one that may be anything."""
    try:
        with warnings.catch_warnings():
            # Of images over 89 megapixels, where the limit here is our own, and of damage that does not matter.
            warnings.simplefilter("ignore")
            yield
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except Image.DecompressionBombError:
        raise ValueError(f"{path}: more than {MOST_PIXELS // 1_000_000} megapixels; shrink it first") from None
    except UnidentifiedImageError:
        raise ValueError(f"{path}: not an image in a known format (PNG, JPEG, WebP and TIFF are)") from None
    except Exception as error:
        raise ValueError(f"{path}: cannot be read as an image: {error}; save it anew") from error


def check_size(path: Path, width: int, height: int) -> None:
    """Raise ValueError when an image of this size cannot be a source."""
    if width * height > MOST_PIXELS:
        raise ValueError(
            f"{path}: {width}x{height} is more than {MOST_PIXELS // 1_000_000} megapixels; shrink it first"
        )
    if min(width, height) < SMALLEST_SIDE:
        raise ValueError(f"{path}: {width}x{height} is too small; each side needs at least {SMALLEST_SIDE} pixels")


def to_srgb(image: Image.Image) -> Pixels:
    """Decode any Pillow image: rotation applied, transparency laid on white, colours in sRGB.

    Transparent pixels become white because that is what a viewer shows: the colour stored beneath full transparency is
    arbitrary, often black, and would surface in the texture.
    """
    profile = image.info.get("icc_profile")
    # Scanners count ink: of 16 bits Pillow leaves that to us, of 8 it has turned the numbers already.
    white_is_zero = isinstance(image, TiffImageFile) and image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0
    upright = turned(image)
    if upright.mode.startswith("I"):  # 16 bits a pixel, or the same numbers held in 32
        grey = np.asarray(upright).astype(np.float32) / np.float32(65535)
        if white_is_zero:
            grey = 1 - grey
        return np.repeat(np.clip(grey, 0, 1)[..., None], 3, axis=2)
    if upright.mode == "F":
        measured = np.nan_to_num(np.asarray(upright, dtype=np.float32))  # a hole, "not a number", is black
        return np.repeat(np.clip(measured, 0, 1)[..., None], 3, axis=2)
    if upright.has_transparency_data:
        seen = upright.convert("RGBA")
        paper = Image.new("RGBA", seen.size, "white")
        upright = Image.alpha_composite(paper, seen).convert("RGB")
    elif upright.mode not in ("RGB", "CMYK", "L", "LAB"):
        upright = upright.convert("RGB")
    return from_bytes(np.asarray(through_profile(upright, profile).convert("RGB")))


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What EXIF's orientation asks for. Pillow's own `exif_transpose` also writes the tags anew, and fails on odd ones."""


def turned(image: Image.Image) -> Image.Image:
    """The image as the camera was held."""
    image.load()  # which turns a TIFF, and takes away its tag
    turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation) or 1)
    return image if turn is None else image.transpose(turn)


def through_profile(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The image in sRGB when it carries a colour profile that fits it, otherwise unchanged."""
    if not profile:
        return image
    try:
        seen = ImageCms.profileToProfile(
            image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError):  # a damaged profile, or one for other channels: the plain pixels are close
        return image
    return seen if seen is not None else image


def from_bytes(values: npt.NDArray[np.uint8]) -> Pixels:
    """8-bit samples to [0, 1]."""
    return (values / np.float32(255)).astype(np.float32)


def to_bytes(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """[0, 1] to 8-bit samples, rounded; values outside are clipped."""
    scaled = np.clip(pixels, 0, 1)
    scaled *= 255
    return np.rint(scaled, out=scaled).astype(np.uint8)


def write_png(path: Path, pixels: Pixels, copies: int = 1) -> None:
    """Write an 8-bit PNG atomically: a reader sees the old file, or none, or the whole new one.

    copies: how often the image stands in the picture, across and down.
    """
    buffer = io.BytesIO()
    Image.fromarray(np.tile(to_bytes(pixels), (copies, copies, 1))).save(buffer, format="PNG", compress_level=4)
    write_atomically(path, buffer.getvalue())


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: see `replacing`."""
    with replacing(path) as out:
        out.write(data)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` when the block ends well: no reader ever sees a part of it, nor
    finds it empty after a power cut."""
    with hidden_beside(path) as hidden:
        with hidden.open("wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        os.replace(hidden, path)


@contextmanager
def hidden_beside(path: Path) -> Iterator[Path]:
    """A hidden name in the same folder, which is made; what lies there at the end of the block is removed. The name
    ends in `.part`, which whoever collects outputs passes over."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield hidden
    finally:
        hidden.unlink(missing_ok=True)


def resize(pixels: Pixels, width: int, height: int) -> Pixels:
    """Bicubic, antialiased when shrinking; may overshoot [0, 1] slightly, as bicubic does."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return resize_box(pixels, width, height, (0, 0, pixels.shape[1], pixels.shape[0]))


def middle(pixels: Pixels, side: int) -> Pixels:
    """The middle of images (..., height, width, channels), at most `side` pixels high and wide."""
    height, width = pixels.shape[-3:-1]
    top, left = max(0, height - side) // 2, max(0, width - side) // 2
    return pixels[..., top : top + side, left : left + side, :]


def within(pixels: Pixels, side: int, torus: bool = False) -> Pixels:
    """The image, shrunk if a side is longer than `side` pixels. torus: whether it wraps around, and shall still."""
    height, width = pixels.shape[:2]
    if max(height, width) <= side:
        return pixels
    size = max(1, round(width * side / max(height, width))), max(1, round(height * side / max(height, width)))
    return resize_torus(pixels, *size) if torus else resize(pixels, *size)


def resize_torus(pixels: Pixels, width: int, height: int, margin: int = 8) -> Pixels:
    """Resize an image that wraps around so that the result wraps around too.

    The image is wrapped outwards by `margin` pixels first: the filter then sees across the border.
    """
    rows, columns = pixels.shape[:2]
    if (columns, rows) == (width, height):
        return pixels
    wrapped = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="wrap")
    return resize_box(wrapped, width, height, (margin, margin, margin + columns, margin + rows))


def resize_box(pixels: Pixels, width: int, height: int, box: tuple[int, int, int, int]) -> Pixels:
    """Resize the part of an image inside `box` (left, top, right, bottom); the filter sees what lies around it."""
    channels = [
        np.asarray(Image.fromarray(pixels[..., c]).resize((width, height), Image.Resampling.BICUBIC, box=box))
        for c in range(pixels.shape[2])
    ]
    return np.stack(channels, axis=2).astype(np.float32)
