"""The painted source textures: the same bytes from the same seed, whole files only, honest about what it cannot do."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).parent.parent / "manifests" / "make_textures.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_textures", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


painting = load()
NAMES = ("bricks", "cloth", "lichen", "terrazzo", "wood")


def test_five_textures_are_offered() -> None:
    assert tuple(painting.TEXTURES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_texture_is_full_of_detail_and_well_exposed(name: str) -> None:
    picture = painting.paint(name, 128)
    assert picture.size == (128, 128) and picture.mode == "RGB"
    pixels = np.asarray(picture, float)
    assert 60 < pixels.mean() < 215
    assert pixels.std() > 12
    assert (pixels.max(2) == 255).mean() < 0.02 and (pixels.max(2) == 0).mean() < 0.02
    assert np.abs(np.diff(pixels.mean(2), axis=1)).mean() > 1.0


def test_same_seed_same_bytes_whichever_textures_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    painting.main(["--into", str(tmp_path / "all"), "--size", "64"])
    assert len(capsys.readouterr().out.splitlines()) == 5
    painting.main(["--into", str(tmp_path / "one"), "--size", "64", "wood"])
    assert capsys.readouterr().out == f"{tmp_path / 'one' / 'wood.png'}  64x64\n"
    assert (tmp_path / "all" / "wood.png").read_bytes() == (tmp_path / "one" / "wood.png").read_bytes()
    painting.main(["--into", str(tmp_path / "other"), "--size", "64", "--seed", "1", "wood"])
    assert (tmp_path / "all" / "wood.png").read_bytes() != (tmp_path / "other" / "wood.png").read_bytes()


def test_a_failed_write_leaves_the_old_picture_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "wood.png"
    path.write_bytes(b"old")

    class Broken(Image.Image):
        def save(self, fp: object, *_: object, **__: object) -> None:
            assert isinstance(fp, Path)
            fp.write_bytes(b"half")
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        painting.save(Broken(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["marble"], "no texture is called marble; choose from bricks, cloth"),
        (["--size", "63"], "--size 63 is not between 64 and 4096"),
        (["--seed", "-1"], "--seed -1 is negative"),
    ],
)
def test_a_wrong_argument_says_what_to_give(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        painting.main(["--into", str(tmp_path), *arguments])
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
