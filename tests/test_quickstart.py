"""The whole path with the real engine: a manifest of textures becomes images."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from job_image.texture.parameters import Parameters
from orchestrator import manifest
from orchestrator.errors import ManifestError
from orchestrator.manifest import TextureParameters
from tests.account import account
from tests.conftest import REPOSITORY, Box
from tests.test_jobs import Stream
from tests.vgg import random_weights, write_npz

SIDES = [{"width": 32}, {"width": 31}, {"width": 8192}, {"width": 8193}, {"height": 31}, {"seed": -1}, {"seed": 2**31}]
OTHERS: list[dict[str, Any]] = [
    {"seed": True},
    {"source_width": 31},
    {"source_width": None},
    {"method": "vgg"},
    {"method": "patch"},
    {"method": "swatch"},
    {"seamless": "x"},
    {"seamless": "z"},
    {"layers": ["pool1", 7, "relu3_2"]},
    {"layers": []},
    {"layers": [21]},
    {"layers": ["conv9_9"]},
    {"layers": "pool1"},
    {"octaves": 9},
    {"octaves": 10},
    {"iterations": 0},
    {"tolerance": 0.5},
    {"tolerance": 2},
    {"padding": "same"},
    {"join": "riemann"},
    {"join": "mean"},
    {"multiply": 0},
    {"start": "symmetric"},
    {"landmarks": "keep"},
    {"landmarks": "lose"},
    {"count": 64},
    {"count": 65},
    {"frame_shift": 0.5},
    {"frame_shift": -1},
    {"frame_order": 0},
    {"frame_distance": "lap2"},
    {"frame_octaves": 3},
    {"content_weight": 0.5},
    {"content_weight": -1},
    {"bits": 16},
    {"bits": 12},
]


def test_the_manifest_and_the_engine_know_the_same_parameters() -> None:
    ours = {field.name: field.default for field in msgspec.structs.fields(TextureParameters)}
    theirs = {name: parameter.default for name, parameter in inspect.signature(Parameters).parameters.items()}
    assert ours == theirs


@pytest.mark.parametrize("given", SIDES + OTHERS, ids=str)
def test_the_manifest_and_the_engine_accept_the_same_values(tmp_path: Path, given: dict[str, Any]) -> None:
    file = tmp_path / "try.yaml"
    file.write_text(json.dumps({"name": "try", "textures": [{"source": "a.png", **given}]}))
    try:
        Parameters(**given)
    except ValueError:
        with pytest.raises(ManifestError) as refused:
            manifest.read(file).check()
        assert next(iter(given)) in str(refused.value)
    else:
        manifest.read(file).check()


@pytest.fixture
def painted(box: Box) -> Box:
    """A box with two small source textures."""
    from manifests import make_textures

    (box.folder / "textures").mkdir()
    for name in ("bricks", "terrazzo"):
        make_textures.paint(name, size=128).save(box.folder / "textures" / f"{name}.png")
    return box


MANIFEST = """
name: small
defaults: {size: 64, seed: 3}
textures:
  - source: textures/*.png
  - source: [textures/bricks.png, textures/terrazzo.png]
    name: both
    size: 96x64
"""


@pytest.mark.slow
def test_a_manifest_of_textures_becomes_images(painted: Box) -> None:
    manifest = painted.manifest(MANIFEST)
    said = painted.swatch("submit", manifest, "--watch")
    outputs = painted.folder / "outputs" / "small"
    for name, size in {"bricks": (64, 64), "terrazzo": (64, 64), "both": (96, 64)}.items():
        made = outputs / name
        assert name in said
        with Image.open(made / "texture.png") as texture, Image.open(made / "tiled.png") as tiled:
            assert texture.size == size
            assert tiled.size == (2 * size[0], 2 * size[1])
            assert tiled.crop((*size, 2 * size[0], 2 * size[1])).tobytes() == texture.tobytes()
        assert list((made / "previews").glob("*.png"))
        report = json.loads((made / "report.json").read_text())
        assert report["parameters"]["seed"] == 3
        assert {"structure", "spectrum", "colour", "seam"} <= set(report["quality"]["figures"])
    several = json.loads((outputs / "both" / "report.json").read_text())["quality"]["reasons"][0]
    assert "side by side" in several, "a mixture is measured, but not judged as if it had one source"
    with Image.open(outputs / "contact-sheet.png") as sheet:
        assert sheet.width > 500
    assert not [path for path in outputs.rglob("*") if path.name.endswith(".part")]

    events = [json.loads(line) for line in painted.swatch("logs", "small", "--json").splitlines()]
    order = [event["path"] for event in events if event["kind"] == "file" and event["path"].startswith("bricks/")]
    assert order.index("bricks/texture.png") > max(i for i, path in enumerate(order) if "/previews/" in path)
    assert {event["task"] for event in events if event["kind"] == "progress"} == {"bricks", "terrazzo", "both"}

    before = (outputs / "bricks" / "texture.png").read_bytes()
    assert painted.json("submit", manifest)["started"] == []
    changed = painted.manifest(MANIFEST.replace("96x64", "64x96"))
    assert painted.json("plan", changed)["counts"] == {"cached": 2, "new": 1}
    painted.environment["SWATCH_HOME"] = str(painted.home.parent / "another")
    painted.swatch("submit", manifest, "--watch", "--into", "again")
    assert (painted.folder / "again/bricks/texture.png").read_bytes() == before, "same seed, same machine, same bytes"


@pytest.mark.slow
def test_weights_that_a_manifest_mounts_are_used(painted: Box) -> None:
    (painted.folder / "weights").mkdir()
    write_npz(painted.folder / "weights" / "vgg19.npz", random_weights(1, "conv3_2"))
    text = """
name: seen
data: [./weights:vgg_weights]
textures:
  - {source: textures/bricks.png, size: 64, octaves: 1, iterations: 2}
"""
    painted.swatch("submit", painted.manifest(text), "--watch")
    report = json.loads((painted.folder / "outputs/seen/bricks/report.json").read_text())
    assert report["method"].startswith("swatch/") and len(report["weights"]) == 64
    said = painted.swatch("logs", "seen")
    assert "vgg19.npz" in said and "NO VGG-19 WEIGHTS" not in said


@pytest.mark.slow
def test_a_style_is_painted_with_the_weights_of_a_dataset(painted: Box) -> None:
    weights = painted.home.parent / "weights" / "vgg19.npz"
    weights.parent.mkdir()
    write_npz(weights, random_weights(1, "conv4_2"))  # as deep as the method looks at the content
    painted.folder, code = weights.parent, painted.folder
    painted.swatch("data", "init", "vgg-weights")
    painted.swatch("data", "upload")
    painted.folder = code
    text = """
name: painted
data: [alice/vgg-weights/1:vgg_weights]
textures:
  - source: textures/bricks.png
    content: textures/terrazzo.png
    name: terrazzo-in-bricks
    method: style
    size: 128
    layers: [conv1_1, pool1]
    octaves: 1
    iterations: 2
"""
    painted.swatch("submit", painted.manifest(text), "--watch")
    made = painted.folder / "outputs" / "painted" / "terrazzo-in-bricks"
    with Image.open(made / "texture.png") as texture:
        assert texture.size == (128, 128) and len(set(texture.tobytes())) > 10
    report = json.loads((made / "report.json").read_text())
    assert report["method"].startswith("style/") and report["parameters"]["method"] == "style"
    assert report["weights"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert (painted.folder / "outputs" / "painted" / "contact-sheet.png").exists()


@pytest.mark.slow
def test_a_killed_synthesis_goes_on_from_its_checkpoint_to_the_same_image(painted: Box) -> None:
    text = "name: {}\ndefaults: {{size: 160, seed: 1}}\ntextures:\n  - source: textures/bricks.png\n  - source: textures/terrazzo.png\n"
    painted.swatch("submit", painted.manifest(text.format("cut")))
    stream = Stream(painted, "cut/1")
    while not stream.until(kind="file")["path"].startswith("terrazzo/previews/"):
        continue
    (agent,) = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if is_agent_of(pid, painted.home)]
    os.kill(agent, signal.SIGKILL)
    assert stream.end() == 1
    assert painted.json("status", "cut")["jobs"][0]["lost"]
    painted.swatch("submit", painted.manifest(text.format("cut")), "--watch")
    events = [json.loads(line) for line in painted.swatch("logs", "cut", "--json").splitlines()]
    assert [event["task"] for event in events if event["kind"] == "task"].count("terrazzo") == 1
    shipped = [event["path"] for event in events if event["kind"] == "file"]
    assert sorted(set(shipped)) == sorted(shipped), "what was made before was not made again"
    painted.environment["SWATCH_HOME"] = str(painted.home.parent / "another")
    painted.swatch("submit", painted.manifest(text.format("whole")), "--watch")
    for name in ("bricks", "terrazzo"):
        cut, whole = (painted.folder / "outputs" / project / name / "texture.png" for project in ("cut", "whole"))
        assert cut.read_bytes() == whole.read_bytes()


def is_agent_of(pid: int, home: Path) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return "job_image.agent" in words and any(word.startswith(str(home)) for word in words)


@pytest.mark.slow
def test_the_quickstart_names_sources_that_the_repository_paints(box: Box) -> None:
    from manifests import make_textures

    manifests = box.folder / "manifests"
    (manifests / "textures").mkdir(parents=True)
    (manifests / "quickstart.yaml").write_text((REPOSITORY / "manifests" / "quickstart.yaml").read_text())
    assert make_textures.main(["--into", str(manifests / "textures")]) == 0
    assert box.json("plan", "manifests/quickstart.yaml")["counts"] == {"new": 5}


@pytest.mark.slow
def test_the_quickstart_makes_the_same_images_on_sagemaker(tmp_path: Path) -> None:
    from manifests import make_textures

    with account(tmp_path) as box:
        (box.folder / "textures").mkdir()
        for name in ("bricks", "wood", "cloth", "terrazzo", "lichen"):
            make_textures.paint(name).save(box.folder / "textures" / f"{name}.png")
        manifest = box.manifest((REPOSITORY / "manifests" / "quickstart.yaml").read_text(), "quickstart.yaml")
        box.swatch("submit", manifest, "--backend", "sagemaker", "--watch")
        # A container has none of the variables by which this environment may choose other kernels, which round otherwise.
        for variable in [name for name in box.environment if name.startswith(("OPENBLAS", "OMP_", "MKL_", "TF_"))]:
            del box.environment[variable]
        box.swatch("submit", manifest, "--store", str(tmp_path / "near"), "--into", "near", "--watch")
    far, near = box.folder / "outputs" / "quickstart", box.folder / "near"
    made = sorted(path.relative_to(far) for path in far.rglob("*.png"))
    assert len([path for path in made if path.name == "texture.png"]) == 5
    assert made == sorted(path.relative_to(near) for path in near.rglob("*.png"))
    assert [path for path in made if (far / path).read_bytes() != (near / path).read_bytes()] == []
