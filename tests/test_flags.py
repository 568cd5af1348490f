"""Each flag of subjective-functions has its meaning, and an effect on the picture."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from job_image.texture import images
from tests import program

pytestmark = pytest.mark.usefixtures("bare", "unmeasured")

SMALL = ("--method", "snelgrove", "-ow", 36, "-o", 2, "-l", "2", "-m", 2)
"""The compatible method at its smallest. A flag given again takes the place of the first."""


class Desk:
    """Two painted sources, weights, and what the program made of them."""

    def __init__(self, folder: Path, weights: Path) -> None:
        self.folder, self.weights, self.runs = folder, weights, 0
        self.one = program.painted(folder / "one.png", 48, 52)
        self.two = program.painted(folder / "two.png", 52, 48, seed=1)

    def make(self, *words: object, sources: Sequence[Path] | None = None, code: int = 0) -> Path:
        """An output folder with what the small method makes with these flags."""
        self.runs += 1
        out = self.folder / f"run{self.runs}"
        given = ("-s", *sources) if sources else ("-s", self.one)
        assert program.run(*given, "-d", self.weights, *SMALL, *words, "--output-dir", out) == code
        return out


@pytest.fixture
def desk(tmp_path: Path, vgg: Path) -> Desk:
    return Desk(tmp_path, vgg)


def texture(out: Path) -> bytes:
    return (program.only(out) / "texture.png").read_bytes()


def test_the_same_again_has_the_same_bytes_and_each_choice_others(desk: Desk) -> None:
    usual = texture(desk.make())
    assert texture(desk.make()) == usual
    made = {"nothing": usual}
    for words in (
        ("-o", 1),
        ("-l", "0"),
        ("-m", 3),
        ("-ss", 0.8),
        ("-sw", 40),
        ("-p", "same"),
        ("--mul", 2),
        ("--seed", 7),
        ("--seed", "symmetric"),
        ("--seed", "symmetric:7"),
        ("--seamless", "both"),
    ):
        made[str(words)] = texture(desk.make(*words))
    assert len(set(made.values())) == len(made), "a flag changes nothing"


def test_a_layer_may_be_called_by_number_or_by_any_of_its_names(desk: Desk) -> None:
    usual = texture(desk.make())
    assert all(texture(desk.make("-l", name)) == usual for name in ("pool1", "block1_pool"))
    out = desk.make("-l", "0", "pool1")
    assert program.only(out).name == "out.L0,pool1.o2.36x36" and program.record(out)["layers"] == ["conv1_1", "pool1"]
    assert texture(desk.make("-l", "2", "conv1_1")) == texture(out), "in the network's order"


def test_a_layer_that_vgg_lacks_fails_the_texture(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.make("-l", "conv6_1", code=1)
    assert "VGG-19 has no layer 'conv6_1'; give a number from 0 to 20 or one of: conv1_1" in capsys.readouterr().out


def test_width_alone_means_a_square(desk: Desk) -> None:
    for words, size in (((), (36, 36)), (("-oh", 48), (36, 48)), (("-ow", 44, "-oh", 34), (44, 34))):
        out = desk.make(*words)
        assert program.only(out).name == f"out.L2.o2.{size[0]}x{size[1]}"
        with Image.open(program.only(out) / "texture.png") as picture:
            assert picture.size == size


def test_kinds_of_seed(desk: Desk) -> None:
    symmetric, other, random, zero, patches = (
        desk.make("--seed", kind, "-m", 1) for kind in ("symmetric", "symmetric:7", "random", 0, "patches:3")
    )
    assert program.record(patches)["parameters"]["start"] == "patches" and program.record(patches)["seed"] == 3
    assert texture(random) == texture(zero) and program.record(other)["seed"] == 7
    assert program.record(symmetric)["parameters"]["start"] == "symmetric"
    with Image.open(program.only(symmetric) / "Aseed_F0000.png") as picture:
        start = np.asarray(picture, np.float32)
    assert start.std() > 10
    # Symmetric but for noise of deviation 2: the difference of two such values has 2.8 (and grey levels are rounded).
    for mirror in (start[:, ::-1], start[::-1]):
        assert 2 < (start - mirror).std() < 4
    with Image.open(program.only(zero) / "Aseed_F0000.png") as picture:
        noise = np.asarray(picture, np.float32)
    assert noise.mean() == pytest.approx(10, abs=0.2) and noise.std() == pytest.approx(1, abs=0.1)


def test_a_large_tolerance_ends_early(desk: Desk) -> None:
    out = desk.make("--tol", 1, "-m", 50)
    assert sorted(one.name for one in program.only(out).glob("I*")) == ["I0000_F0000.png"]


def test_scaling_the_source_says_its_size_in_the_report(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    half, narrow = desk.make("-ss", 0.75), desk.make("-sw", 39)
    assert program.record(half)["source_sizes"] == program.record(narrow)["source_sizes"] == [[39, 36]]
    assert program.only(half).name == "out.L2.o2.w0.75.36x36" and program.only(narrow).name == "out.L2.o2.w39.36x36"
    assert texture(half) == texture(narrow)
    capsys.readouterr()
    desk.make("-ss", 0.5, "-sw", 39, code=1)
    assert "source_width and source_scale are both given; give one of them" in capsys.readouterr().out


def test_folders_of_sources_are_read_in_order(desk: Desk) -> None:
    folder = desk.folder / "sources"
    (folder / "below.png").mkdir(parents=True)
    for name, source in (("b.PNG", desk.two), ("a.png", desk.one)):
        (folder / name).write_bytes(source.read_bytes())
    (folder / "notes.txt").write_text("no image")
    out = desk.make(sources=[folder])
    assert program.record(out)["source_sizes"] == [[52, 48], [48, 52]]
    assert texture(out) == texture(desk.make(sources=[desk.one, desk.two])) != texture(desk.make())


def test_every_way_of_joining_is_another(desk: Desk) -> None:
    modes = ("average", "max", "log_euclidean", "affine_invariant", "riemann")
    both = [desk.one, desk.two]
    made = {mode: desk.make("-j", mode, "-l", "0", "-m", 8, sources=both) for mode in modes}
    assert program.only(made["riemann"]).name == "out.L0.o2.jriemann.36x36"
    # Of two, the mean that is nearest to both is half way: equal but for rounding, which a descent enlarges.
    riemann, half_way = (program.pixels(made.pop(mode)).astype(float) for mode in ("riemann", "affine_invariant"))
    assert np.abs(riemann - half_way).mean() < 2
    assert len({texture(out) for out in made.values()} | {texture(desk.make("-l", "0", "-m", 8))}) == 4


def test_frames_and_the_choices_of_their_tie(desk: Desk) -> None:
    heavy = ("-c", 4, "--if-weight", 1e7, "-l", "0", "-o", 1)
    usual = desk.make(*heavy)
    folder = program.only(usual)
    assert folder.name == "out.L0.o1.c4.36x36"
    frames = [f"F{number:04d}" for number in range(4)]
    assert sorted(one.name for one in folder.glob("Aseed*")) == [f"Aseed_{frame}.png" for frame in frames]
    assert sorted(one.name for one in folder.glob("I0001*")) == [f"I0001_{frame}.png" for frame in frames]
    pictures = [(folder / "frames" / f"{frame}.png").read_bytes() for frame in frames]
    assert len(set(pictures)) == 4 and pictures[0] == texture(usual)
    with Image.open(folder / "video.webp") as film:
        assert getattr(film, "n_frames", 1) == 4 and film.size == (36, 36)
    made = {"nothing": texture(usual)}
    for words in (
        ("--if-weight", 1e6),
        ("--if-shift", 2.5),
        ("--if-order", 1),
        ("--if-distance-type", "l2"),
        ("--if-octaves", 1),
    ):
        made[str(words)] = texture(desk.make(*heavy, *words))
    assert len(set(made.values())) == len(made), "a flag changes nothing"


def test_pictures_are_saved_every_so_often_and_the_last_one_always(desk: Desk) -> None:
    out = desk.make("-n", 3, "-m", 6, "-op", "try")
    folder = program.only(out)
    assert folder.name == "try.L2.o2.36x36"
    assert {one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file()} == {
        *("Acommand.txt", "Aseed_F0000.png", "I0000_F0000.png", "I0003_F0000.png", "I0005_F0000.png"),
        *("previews/36x36.png", "report.json", "source.png", "texture.png", "tiled.png"),
    }
    assert (folder / "I0005_F0000.png").read_bytes() == texture(out)


def test_the_command_can_be_typed_again(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    odd = desk.folder / "it's a source.png"
    odd.write_bytes(desk.one.read_bytes())
    out = desk.make(sources=[odd])
    typed = (program.only(out) / "Acommand.txt").read_text()
    assert typed.startswith("synthesize.py -s ") and typed.endswith("\n")
    capsys.readouterr()
    assert program.run(*shlex.split(typed)[1:]) == 0
    assert "out.L2.o2.36x36: there already" in capsys.readouterr().out.splitlines()


def test_another_run_gets_a_folder_of_its_own(desk: Desk) -> None:
    out = desk.folder / "out"
    for seed in (1, 2, 3, 2):
        assert program.run("-s", desk.one, "-d", desk.weights, *SMALL, "--seed", seed, "--output-dir", out) == 0
    assert sorted(one.name for one in out.iterdir() if not one.name.startswith(".")) == [
        "out.L2.o2.36x36",
        "out.L2.o2.36x36.0",
        "out.L2.o2.36x36.1",
    ]


def test_novelty_makes_frames_without_a_source(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    # From frames that are nearly alike, the first steps all lead down what they share: it takes some to differ.
    words = ("--novelty", "-d", desk.weights, *SMALL, "-ow", 40, "-c", 2, "-o", 3, "-m", 8, "--seamless", "none")
    made: dict[str, bytes] = {}
    choices: list[tuple[object, ...]] = [(), ("--internal",), ("-os", 2)]
    for more in choices:
        out = desk.folder / f"novel{len(made)}"
        assert program.run(*words, *more, "--output-dir", out) == 0
        made[program.only(out).name] = texture(out)
        report = program.record(out)
        assert report["method"].startswith("novelty/") and report["quality"]["verdict"] == "unmeasured"
    assert list(made) == ["out.L2.o3.c2.40x40", "out.L2.o3.internal.c2.40x40", "out.L2.o3.c2.os2.40x40"]
    assert len(set(made.values())) == 3
    capsys.readouterr()
    assert program.run("--novelty", "-ow", 40, "--output-dir", desk.folder / "none") == 1
    assert "novelty needs VGG-19 weights: name their folder with --data-dir" in capsys.readouterr().out


def test_frames_end_about_as_far_apart_as_a_source_from_itself_moved(desk: Desk) -> None:
    out = desk.make("-c", 3, "-l", "0", "-o", 1, "--if-weight", 1e9, "--if-octaves", 1, "--if-shift", 4, "-m", 30)
    frames = [images.read(one) for one in sorted((program.only(out) / "frames").iterdir())]
    source = images.read(desk.one)
    apart = [np.abs(one - other).mean() for one, other in zip(frames, [*frames[1:], frames[0]], strict=True)]
    moved = [np.abs(source[4:] - source[:-4]).mean(), np.abs(source[:, 4:] - source[:, :-4]).mean()]
    # Not quite: the statistics pull, too, and what is clipped in the files is nearer to each other.
    np.testing.assert_allclose(apart, np.mean(moved), rtol=0.25)
