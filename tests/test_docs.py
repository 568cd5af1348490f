"""What the documents say is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from orchestrator.cli import VERBS
from tests.conftest import REPOSITORY, Box

DOCUMENTS = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (REPOSITORY / "docs").glob("*.md")
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_exist(document: Path) -> None:
    text = document.read_text()
    verbs = set(re.findall(r"(?:^|`|\n +)swatch ([a-z]+)", text))
    assert verbs <= set(VERBS)
    targets = set(re.findall(r"(?:^|`|\n +)make ([a-z]+)", text))
    made = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert targets <= made


def test_the_readme_is_short_and_its_manifest_is_one(box: Box) -> None:
    from PIL import Image

    text = (REPOSITORY / "README.md").read_text()
    assert 60 <= len(text.splitlines()) <= 125
    (manifest,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (box.folder / "photos").mkdir()
    for name in ("photos/bark.jpg", "photos/moss.jpg", "oak1.png", "oak2.png"):
        Image.new("RGB", (64, 64), "green").save(box.folder / name)
    assert box.json("plan", box.manifest(manifest, "forest.yaml"))["counts"] == {"new": 9}


def test_contributing_names_every_module() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    modules = {path.stem for path in (REPOSITORY / "orchestrator").iterdir() if not path.stem.startswith("_")}
    missing = {name for name in modules if name not in text} - {"duration", "shape", "wording"}
    assert not missing


def test_make_help_lists_the_targets() -> None:
    said = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert all(f"make {target} " in said for target in ("demo", "test", "check", "bench", "clean", "help"))


def test_nothing_points_at_the_machine_that_built_it() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if tracked.returncode != 0:
        pytest.skip("needs a git checkout")
    for name in tracked.stdout.split():
        path = REPOSITORY / name
        if path.suffix in (".py", ".md", ".toml", ".yaml", ".txt", ""):
            assert not re.search(r"(?<![\w./])\.\./shared\b|/home/[a-z]+/", path.read_text()), name


def test_the_lock_pins_everything_the_project_names() -> None:
    import tomllib

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    wanted = {re.split(r"[\[<>=;]", requirement)[0].strip().lower() for requirement in named}
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    pinned = {
        line.split("==")[0].split("[")[0].lower() for line in lines if "==" in line and not line.startswith((" ", "#"))
    }
    assert wanted <= pinned
    assert {"boto3", "sagemaker", "tensorflow", "keras", "pyyaml", "pillow", "moto"} <= wanted | pinned
    assert not any("://" in line for line in lines)


def test_a_laptop_installs_only_what_it_uses() -> None:
    import tomllib

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[\[<>=;]", one)[0].strip().lower() for one in requirements}

    heavy = {"tensorflow", "tensorflow-cpu", "keras", "numpy"}
    extras = {name: names(extra) for name, extra in project["optional-dependencies"].items()}
    assert not names(project["dependencies"]) & (heavy | {"boto3", "sagemaker", "moto"})
    assert heavy <= extras["local"]
    assert not extras["local"] & {"boto3", "sagemaker", "moto", "pytest"}
    assert not extras["aws"] & heavy
