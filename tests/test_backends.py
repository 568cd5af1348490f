"""The engine on each backend of Keras: the same code, and nearly the same numbers.

No extra installs PyTorch, which is large: its cases run where it happens to be."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from keras import ops
from PIL import Image

from job_image.texture import backend, images
from job_image.texture.report import BACKENDS
from tests.conftest import REPOSITORY

Array = npt.NDArray[np.float32]

PROGRAM = REPOSITORY / "job_image" / "synthesize.py"
TEXTURE = REPOSITORY / "job_image" / "texture"


def imports(nodes: Iterator[ast.AST] | list[ast.stmt]) -> set[str]:
    """The top-level packages that these nodes import."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).split(".")[0])
    return found


@pytest.mark.parametrize("module", sorted(path.name for path in TEXTURE.glob("*.py")))
def test_only_the_seam_knows_a_backend_by_name(module: str) -> None:
    tree = ast.parse((TEXTURE / module).read_text())
    assert not imports(tree.body) & set(BACKENDS), "what one backend offers belongs into backend.py, and is loaded late"
    if module != "backend.py":
        assert not imports(ast.walk(tree)) & set(BACKENDS), "what one backend offers belongs into backend.py"


def test_a_value_comes_with_its_gradient() -> None:
    x, w = np.array([1, -2, 3], np.float32), np.array([4, 5, 6], np.float32)
    weighted_squares = backend.value_and_gradient(lambda x, w: ops.sum(w * x**2))
    for both in (weighted_squares, backend.compiled()(weighted_squares)):
        value, gradient = both(x, w)
        assert float(value) == 78
        np.testing.assert_allclose(backend.to_numpy(gradient), 2 * w * x)


def test_one_graph_serves_all_shapes() -> None:
    compiled_for = []

    @backend.compiled("times")
    def repeated(x: backend.Tensor, more: backend.Tensor, *, times: int) -> backend.Tensor:
        compiled_for.append(times)
        return ops.concatenate([x + more] * times, 0)

    for count in (2, 3, 5):
        x = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
        for times in (1, 4):
            found = backend.to_numpy(repeated(x, float(count), times=times))
            np.testing.assert_array_equal(found, np.tile(x + count, (times, 1)))
    assert compiled_for == [1, 4]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Soft blobs of two colours with some grain."""
    random = np.random.default_rng(0)
    share = np.clip(4 * images.resize(random.random((13, 13, 1), dtype=np.float32), 72, 72) - 1.5, 0, 1)
    pixels = share * np.array([0.8, 0.5, 0.3]) + (1 - share) * np.array([0.2, 0.3, 0.4])
    path = tmp_path / "blobs.png"
    images.write_png(path, np.clip(pixels + random.normal(0, 0.02, (72, 72, 1)), 0, 1).astype(np.float32))
    return path


def synthesize(
    name: str, source: Path, folder: Path, *more: object, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the program on a backend, at 64 x 64 pixels."""
    words = ["-s", str(source), "--output-width", "64", "--output-dir", str(folder), *map(str, more)]
    return subprocess.run(
        [sys.executable, str(PROGRAM), *words],
        env={**os.environ, "KERAS_BACKEND": name, **environment},
        capture_output=True,
        text=True,
    )


def test_a_backend_that_cannot_be_used_is_told_in_a_sentence(tmp_path: Path, source: Path) -> None:
    wrong = synthesize("numpy", source, tmp_path / "out")
    assert (wrong.returncode, wrong.stderr) == (1, "")
    assert "failed: KERAS_BACKEND is 'numpy'; it must be one of: tensorflow, jax, torch" in wrong.stdout
    # Hides an installed JAX: this one is found first, and is not there either.
    (tmp_path / "jax.py").write_text("raise ModuleNotFoundError(\"No module named 'jax'\", name='jax')\n")
    missing = synthesize("jax", source, tmp_path / "out", PYTHONPATH=str(tmp_path))
    assert (missing.returncode, missing.stderr) == (1, "")
    assert "failed: KERAS_BACKEND is 'jax', which is not installed; pip install jax" in missing.stdout


@pytest.fixture(params=["jax", "torch"])
def name(request: pytest.FixtureRequest) -> str:
    """A backend other than the usual one."""
    if find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


@pytest.mark.slow
def test_another_backend_makes_textures(tmp_path: Path, source: Path, name: str) -> None:
    for folder in ("one", "same"):
        made = synthesize(name, source, tmp_path / folder)
        assert (made.returncode, made.stderr) == (0, ""), made.stdout
    one, same = (tmp_path / folder / "out.L2,7.o4.64x64" / "texture.png" for folder in ("one", "same"))
    assert one.read_bytes() == same.read_bytes()
    versions = json.loads(one.with_name("report.json").read_text())["versions"]
    assert versions["backend"] == name and versions[name] and "tensorflow" not in versions
    with Image.open(one) as picture:
        assert picture.size == (64, 64)
    texture, wanted = images.read(one), images.read(source)
    for axis in (0, 1):
        steps = np.abs(np.diff(texture, axis=axis, append=texture.take([0], axis))).mean((1 - axis, 2))
        assert 0.5 < steps[-1] / np.median(steps) < 2
        assert steps[-1] <= 1.2 * steps[:-1].max()
    np.testing.assert_allclose(texture.mean((0, 1)), wanted.mean((0, 1)), atol=0.06)
    np.testing.assert_allclose(texture.std((0, 1)), wanted.std((0, 1)), rtol=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["swatch", "snelgrove"])
def test_another_backend_matches_statistics(
    tmp_path: Path, bare: Path, vgg: Path, source: Path, name: str, method: str
) -> None:
    """The methods with weights: a picture without a seam, whose loss is about what the usual backend reaches."""
    losses = {}
    for backend_name in (name, "tensorflow"):
        out = tmp_path / backend_name
        more = ("-d", vgg, "--method", method, "--max-iter", 8, "-o", 2, "--seamless", "both")
        made = synthesize(backend_name, source, out, *more)
        assert (made.returncode, made.stderr) == (0, ""), made.stdout
        folder = out / "out.L2,7.o2.64x64"
        report = json.loads((folder / "report.json").read_text())
        assert report["method"].startswith(method) and report["versions"]["backend"] == backend_name
        losses[backend_name] = report["loss"]
        texture = images.read(folder / "texture.png")
        for axis in (0, 1):
            steps = np.abs(np.diff(texture, axis=axis, append=texture.take([0], axis))).mean((1 - axis, 2))
            assert steps[-1] < 1.4 * np.median(steps)
    assert losses[name] == pytest.approx(losses["tensorflow"], rel=0.1)


ONE_OF_EACH = """
import sys
import numpy as np
from job_image.texture import backend, levels, patches, rhythm, sliced
backend.configure()
source, picture = (2 * np.random.default_rng(seed).random((48, 48, 3), dtype=np.float32) - 1 for seed in (0, 1))
level = levels.schedule(48, 48, [(48, 48)])[-1]
patches.STRIP_PATCHES = 48 * 10  # the last strip is filled up
sliced.MOST_RESPONSES = sliced.FILTERS * 48 * 20  # and here it is less high
matched, error = patches.Matcher([source], level, 0, rhythm.Rhythm()).iterate(picture, 0, lambda: None)
finish = sliced.Finish([source], picture, 3)
loss = finish.step(0, lambda: None)
np.savez(sys.argv[1], matched=matched, error=error, finished=finish.picture(), loss=loss)
"""


def one_of_each(name: str, path: Path) -> dict[str, Array]:
    """An iteration of matching and a step of the finish, on a backend."""
    environment = {**os.environ, "KERAS_BACKEND": name, "PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, "-c", ONE_OF_EACH, str(path)], env=environment, check=True)
    with np.load(path) as saved:
        return dict(saved)


@pytest.mark.slow
def test_another_backend_does_the_same_arithmetic(tmp_path: Path, name: str) -> None:
    ours, usual = one_of_each(name, tmp_path / "ours.npz"), one_of_each("tensorflow", tmp_path / "usual.npz")
    for figure in ("error", "loss"):
        np.testing.assert_allclose(ours[figure], usual[figure], rtol=1e-3)
    # Of two patches that are equally near, each backend may take another.
    for picture in ("matched", "finished"):
        assert np.isclose(ours[picture], usual[picture], atol=1e-3).mean() > 0.99
