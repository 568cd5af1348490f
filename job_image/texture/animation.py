"""Frames of a looping texture as moving pictures: an animated WebP, and an MP4 where ffmpeg is there to make one."""

import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from . import images
from .images import Pixels

QUALITY = 90
"""Of WebP. Lossless frames of photographed textures take 3.5 times the bytes."""

LARGEST_WEBP = 16383
"""Pixels a side: the format's own limit."""

ENCODER_SECONDS = 900
"""After which ffmpeg is given up: it must not keep a paid machine for ever."""

FASTEST = 120
"""Frames per second."""


@dataclass(frozen=True)
class Animation:
    """What was written, and a sentence for each format that was not."""

    paths: tuple[Path, ...]
    warnings: tuple[str, ...]


def write_animation(stem: Path, frames: Sequence[Pixels], frames_per_second: float) -> Animation:
    """Write `stem`.webp, which repeats for ever, and `stem`.mp4 (H.264), each atomically.

    frames: of one shape (height, width, 3), sRGB in [0, 1]. In the MP4 odd sides grow by a pixel, repeated from the
    other edge, where a texture that wraps goes on; H.264 wants even ones.

    Raises ValueError when there are no frames, when they differ in shape, or for a rate out of reach. That a format
    cannot be written, for want of ffmpeg or by its failure, is a warning in the result.
    """
    if not frames or len({frame.shape for frame in frames}) > 1:
        raise ValueError(f"{stem}: an animation needs one frame or more, all of one size; it got {len(frames)}")
    if not 0.1 <= frames_per_second <= FASTEST:
        raise ValueError(f"{stem}: {frames_per_second} frames per second; choose 0.1 to {FASTEST}")
    seen = [images.to_bytes(frame) for frame in frames]
    paths, warnings = [], []
    for suffix, writer in ((".webp", write_webp), (".mp4", write_mp4)):
        path = stem.with_name(stem.name + suffix)
        warning = writer(path, seen, frames_per_second)
        if warning is None:
            paths.append(path)
        else:
            warnings.append(f"{path}: {warning}")
    return Animation(tuple(paths), tuple(warnings))


def write_webp(path: Path, frames: list[npt.NDArray[np.uint8]], frames_per_second: float) -> str | None:
    """Write an animated WebP; why not, or None."""
    if max(frames[0].shape) > LARGEST_WEBP:
        return f"not written: WebP has at most {LARGEST_WEBP} pixels a side; make the frames smaller"
    # Whole milliseconds that do not drift: each frame ends where its number says.
    ends = [round(1000 * number / frames_per_second) for number in range(len(frames) + 1)]
    first, *others = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    first.save(
        buffer,
        format="WEBP",
        save_all=True,
        append_images=others,
        duration=[end - start for start, end in pairwise(ends)],
        loop=0,
        quality=QUALITY,
    )
    images.write_atomically(path, buffer.getvalue())
    return None


def write_mp4(path: Path, frames: list[npt.NDArray[np.uint8]], frames_per_second: float) -> str | None:
    """Write an MP4 with the ffmpeg on the PATH; why not, or None."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        return "not written: there is no ffmpeg; install it to have MP4 beside WebP"
    height, width, _ = frames[0].shape
    margin = ((0, height % 2), (0, width % 2), (0, 0))
    # The frames lie in a file, not in a pipe: whenever ffmpeg ends, nobody is left writing.
    with tempfile.TemporaryFile() as raw, images.hidden_beside(path) as hidden:
        for frame in frames:
            raw.write(np.pad(frame, margin, mode="wrap").tobytes())
        raw.seek(0)
        command = arguments(ffmpeg, width + width % 2, height + height % 2, frames_per_second, hidden)
        try:
            done = subprocess.run(
                command, stdin=raw, capture_output=True, text=True, errors="replace", timeout=ENCODER_SECONDS
            )
        except subprocess.TimeoutExpired:
            return f"not written: ffmpeg was not done after {ENCODER_SECONDS} s; make fewer or smaller frames"
        except OSError as error:
            return f"not written: ffmpeg cannot be started ({error.strerror}); install it anew"
        if done.returncode != 0 or not hidden.is_file():
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1][:300]
            return f"not written: ffmpeg ended with {done.returncode} ({said}); install one that has libx264"
        with hidden.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(hidden, path)
    return None


def arguments(ffmpeg: str, width: int, height: int, frames_per_second: float, out: Path) -> list[str]:
    """The command: raw RGB from standard input to H.264 that every player and browser plays.

    Colours are converted by BT.709 and said to be so, for players guess otherwise by size. The bit-exact flags leave
    out the encoder's version and the date.
    """
    return [
        *(ffmpeg, "-hide_banner", "-loglevel", "error", "-y"),
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{frames_per_second:g}"),
        *("-i", "pipe:0", "-an", "-vf", "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd"),
        *("-c:v", "libx264", "-preset", "medium", "-crf", "18", "-pix_fmt", "yuv420p"),
        *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "iec61966-2-1", "-color_range", "tv"),
        *("-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1", "-movflags", "+faststart"),
        *("-f", "mp4", f"file:{out.resolve()}"),
    ]
