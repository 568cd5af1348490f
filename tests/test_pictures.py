"""What is delivered: deep pictures, and frames in motion, as other programs read them."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import png
import pytest
import tifffile
from PIL import Image, ImageCms

from job_image.texture import animation, images, pictures
from job_image.texture.animation import write_animation


def texture(height: int = 300, width: int = 77, seed: int = 0) -> Any:
    """Noise that goes beyond the ends of the range."""
    return np.random.default_rng(seed).uniform(-0.1, 1.1, (height, width, 3)).astype(np.float32)


def whole_numbers(pixels: Any, most: int) -> Any:
    return np.rint(np.clip(pixels.astype(np.float64), 0, 1) * most)


def test_a_deep_png_has_sixteen_real_bits(tmp_path: Path) -> None:
    pictures.write(tmp_path / "t.png", texture(), 16)
    width, height, rows, info = png.Reader(bytes=(tmp_path / "t.png").read_bytes()).read()
    assert (width, height, info["bitdepth"], info["planes"]) == (77, 300, 16, 3)
    found = np.vstack(list(rows)).reshape(300, 77, 3)
    assert np.abs(found - whole_numbers(texture(), 65535)).max() <= 1  # a float32 has not all of 16 bits and a half
    assert len(np.unique(found & 255)) == 256
    with Image.open(tmp_path / "t.png") as seen:
        assert seen.info["srgb"] == 0
        seen.load()


@pytest.mark.parametrize(("bits", "name"), [(8, "t.tif"), (16, "t.tiff"), (16, "T.TIF")])
def test_a_tiff_has_its_bits_and_srgbs_profile(tmp_path: Path, bits: int, name: str) -> None:
    pictures.write(tmp_path / name, texture(), bits)
    with tifffile.TiffFile(tmp_path / name) as file:
        found, tags = file.pages[0].asarray(), file.pages[0].tags  # type: ignore[union-attr]
        profile = tags["InterColorProfile"].value
    assert found.dtype == f"uint{bits}" and found.shape == (300, 77, 3)
    assert np.abs(found - whole_numbers(texture(), 2**bits - 1)).max() <= 1
    with Image.open(tmp_path / name) as seen:  # another reader, libtiff
        np.testing.assert_allclose(np.asarray(seen) / 255, np.clip(texture(), 0, 1), atol=1 / 255)
        assert seen.info["icc_profile"] == profile
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    assert "sRGB" in ImageCms.getProfileDescription(opened)


@pytest.mark.parametrize(("name", "bits"), [("t.png", 8), ("t.png", 16), ("t.tif", 8), ("t.tif", 16)])
def test_what_is_written_is_read_again(tmp_path: Path, name: str, bits: int) -> None:
    pictures.write(tmp_path / "new" / name, texture(), bits)
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]
    np.testing.assert_allclose(images.read(tmp_path / "new" / name), np.clip(texture(), 0, 1), atol=1 / 255)


def test_the_same_pixels_give_the_same_bytes_on_any_day(tmp_path: Path) -> None:
    """LittleCMS puts the time into a profile: two processes would differ."""
    program = (
        "import sys, numpy, pathlib; from job_image.texture import pictures;"
        "x = numpy.linspace(0, 1, 40 * 50 * 3, dtype='f4').reshape(40, 50, 3);"
        "[pictures.write(pathlib.Path(sys.argv[1] + name), x, 16) for name in ('.png', '.tif')]"
    )
    for stem in ("a", "b"):
        subprocess.run([sys.executable, "-c", program, str(tmp_path / stem)], check=True)
    for suffix in (".png", ".tif"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    assert pictures.srgb_profile()[24:36] == bytes.fromhex("07d0 0001 0001 0000 0000 0000")


@pytest.mark.parametrize("name", ["t.png", "t.tif"])
def test_a_picture_is_not_held_twice(tmp_path: Path, name: str) -> None:
    pixels = np.zeros((4096, 256, 3), np.float32)
    pictures.write(tmp_path / name, pixels[:256], 16)  # what is imported and cached counts for no picture
    tracemalloc.start()
    try:
        pictures.write(tmp_path / name, pixels, 16)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < pixels.nbytes / 4


def test_an_old_picture_stays_when_a_new_one_fails(tmp_path: Path) -> None:
    (tmp_path / "t.tif").write_text("old")

    def interrupted() -> None:
        with images.replacing(tmp_path / "t.tif") as out:
            out.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_other_formats_and_depths_are_refused(tmp_path: Path) -> None:
    for name, bits, sentence in [
        ("t.jpg", 8, r"\.png, \.tif, \.tiff"),
        ("t.png", 12, "8 or 16"),
        ("t", 8, "PNG or TIFF"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            pictures.write(tmp_path / name, texture(), bits)
    assert not list(tmp_path.iterdir())


def frames(count: int = 5, height: int = 41, width: int = 35) -> list[Any]:
    """A green light that goes from left to right, on grey."""
    made = []
    for number in range(count):
        frame = np.full((height, width, 3), 0.3, np.float32)
        frame[:, number * width // count : (number + 1) * width // count] = (0.1, 0.8, 0.1)
        made.append(frame)
    return made


def without_ffmpeg(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PATH", str(folder))


def test_a_webp_repeats_for_ever_at_its_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_ffmpeg(monkeypatch, tmp_path)
    made = write_animation(tmp_path / "new" / "loop", frames(), 24)
    assert made.paths == (tmp_path / "new" / "loop.webp",)
    assert len(made.warnings) == 1 and "loop.mp4: not written: there is no ffmpeg; install it" in made.warnings[0]
    with Image.open(made.paths[0]) as seen:
        assert (seen.n_frames, seen.size, seen.info["loop"]) == (5, (35, 41), 0)  # type: ignore[attr-defined]
        ends = []
        for number, frame in enumerate(frames()):
            seen.seek(number)
            np.testing.assert_allclose(np.asarray(seen.convert("RGB")) / 255, frame, atol=0.35)
            assert np.abs(np.asarray(seen.convert("RGB")) / 255 - frame).mean() < 0.04
            ends.append(seen.info["timestamp"] + seen.info["duration"])
    assert ends == [42, 83, 125, 167, 208]


needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="there is no ffmpeg on the PATH")


def decoded(path: Path, width: int, height: int) -> Any:
    """All frames of a film, by ffmpeg, converted to RGB as the film itself says."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


@needs_ffmpeg
def test_an_mp4_plays_the_frames(tmp_path: Path) -> None:
    made = write_animation(tmp_path / "- odd: name 100%d", frames(), 12.5)
    assert made.warnings == ()
    path = tmp_path / "- odd: name 100%d.mp4"
    assert made.paths[1] == path and sorted(tmp_path.iterdir()) == sorted(made.paths)
    probe = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(path)]
    (stream,) = json.loads(subprocess.run(probe, capture_output=True, check=True).stdout)["streams"]
    assert (stream["codec_name"], stream["pix_fmt"]) == ("h264", "yuv420p")
    assert (stream["width"], stream["height"], stream["nb_frames"], stream["r_frame_rate"]) == (36, 42, "5", "25/2")
    assert stream["color_space"] == "bt709" and stream["color_range"] == "tv"
    seen = decoded(path, 36, 42)
    for number, frame in enumerate(frames()):
        assert np.abs(seen[number, :41, :35] / 255 - frame).mean() < 0.05
        middle = (2 * number + 1) * 35 // 10  # amid the light, where halved colour is whole
        np.testing.assert_allclose(seen[number, 20, middle] / 255, [0.1, 0.8, 0.1], atol=0.03)
        np.testing.assert_allclose(seen[number, 41, middle] / 255, [0.1, 0.8, 0.1], atol=0.03)


@needs_ffmpeg
def test_the_same_frames_give_the_same_film(tmp_path: Path) -> None:
    for stem in ("a", "b"):
        write_animation(tmp_path / stem, frames(2), 10)
    for suffix in (".webp", ".mp4"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


FAKES = {
    "fails": ("#!/bin/sh\necho first >&2; echo 'Unknown encoder libx264' >&2; exit 3", "ended with 3 (Unknown encoder"),
    "is silent": ("#!/bin/sh\nexit 1", "ended with 1 (it said nothing)"),
    "writes nothing": ("#!/bin/sh\nexit 0", "ended with 0"),
    "is none": ("no program at all", "cannot be started"),
    "never ends": ("#!/bin/sh\nexec /usr/bin/tail -f /dev/null", "was not done after"),
    "dies at once": ("#!/bin/sh\nkill -9 $$", "ended with -9"),
}


@pytest.mark.parametrize("fault", FAKES)
def test_an_ffmpeg_that_fails_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    program, sentence = FAKES[fault]
    if fault == "never ends":
        monkeypatch.setattr(animation, "ENCODER_SECONDS", 0.2)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ffmpeg").write_text(program)
    (tmp_path / "bin" / "ffmpeg").chmod(0o755)
    without_ffmpeg(monkeypatch, tmp_path / "bin")
    made = write_animation(tmp_path / "out" / "loop", frames(2), 10)
    assert [path.name for path in made.paths] == ["loop.webp"]
    assert len(made.warnings) == 1 and sentence in made.warnings[0] and ";" in made.warnings[0]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["loop.webp"]


def test_frames_that_are_no_animation_are_refused(tmp_path: Path) -> None:
    for given, rate, sentence in [
        ([], 10, "it got 0"),
        ([*frames(1), *frames(1, 40, 40)], 10, "all of one size"),
        (frames(2), 0, "choose 0.1 to 120"),
        (frames(2), float("nan"), "choose 0.1 to 120"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            write_animation(tmp_path / "loop", given, rate)
