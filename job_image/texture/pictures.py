"""Pictures for print and for other programs: PNG and TIFF with 8 or 16 bits a channel, marked as sRGB.

Written in bands of rows, so that a picture of 8192 x 8192 takes little more memory than its own pixels.
"""

import struct
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import ImageCms

from . import images
from .images import Pixels

SUFFIXES = (".png", ".tif", ".tiff")
BITS = (8, 16)

BAND = 128
"""Rows converted and packed at a time: some 6 MB at the largest width, and a TIFF's strip."""

LEVEL = 1
"""Of zlib. The lower bytes of 16-bit textures are close to noise: photographs enlarged pack to 0.91-0.93 of their size
with it, and to no less at level 6."""


def write(path: Path, pixels: Pixels, bits: int = 8) -> None:
    """Write a picture atomically, as PNG or TIFF by the path's suffix, 8 or 16 bits a channel.

    pixels: (height, width, 3), sRGB in [0, 1]; values outside are clipped. The same pixels give the same bytes.

    Raises ValueError for another suffix or number of bits.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: pictures are written as PNG or TIFF; end the name in {', '.join(SUFFIXES)}")
    if bits not in BITS:
        raise ValueError(f"{path}: {bits} bits a channel; choose 8 or 16")
    if path.suffix.lower() != ".png":
        with images.replacing(path) as out:
            write_tiff(out, pixels, bits)
    elif bits == 8:
        images.write_png(path, pixels)
    else:
        with images.replacing(path) as out:
            write_deep_png(out, pixels)


def bands(pixels: Pixels, bits: int) -> Iterator[npt.NDArray[Any]]:
    """The picture from top to bottom, `BAND` rows at a time, in whole numbers."""
    for top in range(0, len(pixels), BAND):
        band = pixels[top : top + BAND]
        yield images.to_bytes(band) if bits == 8 else to_words(band)


def to_words(pixels: Pixels) -> npt.NDArray[np.uint16]:
    """[0, 1] to 16-bit samples, rounded; values outside are clipped."""
    words: npt.NDArray[np.uint16] = np.rint(np.clip(pixels, 0, 1) * np.float32(65535)).astype("<u2")
    return words


def write_deep_png(out: BinaryIO, pixels: Pixels) -> None:
    """A PNG of 16 bits a channel (PNG specification, third edition, 2025), which Pillow cannot write.

    Each row is filtered by "Sub", the difference to the pixel on the left: without it nothing packs.
    """
    height, width, _ = pixels.shape
    out.write(b"\x89PNG\r\n\x1a\n")
    write_chunk(out, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    write_chunk(out, b"sRGB", b"\0")
    packer = zlib.compressobj(LEVEL)
    for band in bands(pixels, 16):
        samples = band.astype(">u2").view(np.uint8).reshape(len(band), -1)
        rows = np.empty((len(band), 1 + samples.shape[1]), np.uint8)
        rows[:, 0] = 1  # the filter's number
        rows[:, 1:7] = samples[:, :6]
        np.subtract(samples[:, 6:], samples[:, :-6], out=rows[:, 7:])  # modulo 256, as the specification has it
        write_chunk(out, b"IDAT", packer.compress(rows.data))
    write_chunk(out, b"IDAT", packer.flush())
    write_chunk(out, b"IEND", b"")


def write_chunk(out: BinaryIO, kind: bytes, data: bytes) -> None:
    out.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))


def strips(pixels: Pixels, bits: int) -> Iterator[bytes]:
    """The bands as a TIFF's deflated strips, with its horizontal predictor: differences to the pixel on the left."""
    for band in bands(pixels, bits):
        band[:, 1:] -= band[:, :-1].copy()  # modulo 2^bits
        yield zlib.compress(band.data, LEVEL)


def write_tiff(out: BinaryIO, pixels: Pixels, bits: int) -> None:
    """A little-endian TIFF with deflated strips and the profile of sRGB."""
    import tifffile

    tifffile.imwrite(
        out,
        strips(pixels, bits),
        byteorder="<",
        shape=pixels.shape,
        dtype=f"uint{bits}",
        photometric="rgb",
        rowsperstrip=BAND,
        compression="zlib",
        predictor=True,
        iccprofile=srgb_profile(),
        software=False,
        metadata=None,
    )


@cache
def srgb_profile() -> bytes:
    """The ICC profile of sRGB, dated 2000-01-01: LittleCMS puts in the time of day, and bytes should repeat."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + profile[36:]
