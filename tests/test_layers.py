"""The arrows of the house point down: each part imports only what stands below it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cargo import agent
from tests.conftest import REPOSITORY

# Part -> the parts it may import, beside itself. A part is a package or module of `orchestrator`, or of `job_image`.
WORDS = {"contract", "decoder", "errors"}
VALUES = {
    "job",
    "launch",
    "project",
    "names",
    "address",
    "environments",
    "invocation",
    "recipe",
    "folder",
    "duration",
    "command",
    "shape",
    "document",
    "entries",
    "machines",
    "manifest",
    "plan",
    "prices",
    "secrets",
    "settings",
    "wording",
}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "contract": set(),
    "decoder": set(),
    **dict.fromkeys(VALUES, VALUES | WORDS),
    "aws": {"errors"},
    "store": {"aws"} | WORDS,
    "leash": {"errors"},
    "journal": {"store"} | WORDS,
    "complaint": {"errors"},
    "docker": {"complaint", "errors"},
    "cargo": {"docker", "registry", "store", "journal", "unpack"} | VALUES | WORDS,
    "notice": WORDS,
    "notify": {"journal", "notice", "store"} | VALUES | WORDS,
    "backends": {"aws", "complaint", "docker", "leash", "notify", "cargo", "images", "journal", "shelf", "store"}
    | VALUES
    | WORDS,
    "facts": {"backends", "store", "journal"} | VALUES | WORDS,
    "engine": {"facts", "results", "backends", "cargo", "store", "journal"} | VALUES | WORDS,
    "bill": {"aws", "backends", "facts", "journal", "store"} | VALUES | WORDS,
    "pricelist": {"aws"} | VALUES | WORDS,
    "images": VALUES | WORDS,
    "registry": {"account", "aws", "images"} | VALUES | WORDS,
    "codebuild": {"account", "aws", "cargo", "docker", "images", "registry", "store"} | VALUES | WORDS,
    "foundry": {"aws", "cargo", "docker", "images", "registry"} | VALUES | WORDS,
    "account": VALUES | WORDS,
    "provision": {"account", "aws"} | VALUES | WORDS,
    "stack": {"account"} | VALUES | WORDS,
    "checkup": {"account", "aws", "backends", "docker", "foundry", "images"} | VALUES | WORDS,
    "orphans": {"aws", "backends", "store"} | VALUES | WORDS,
    "results": {"store"} | WORDS,
    "sync": {"store"} | WORDS,
    "watch": {"engine", "results", "facts", "sync", "backends", "store", "journal"} | VALUES | WORDS,
    "request": {"docker", "engine", "cargo", "foundry", "store"} | VALUES | WORDS,
    "target": {"facts", "store"} | VALUES | WORDS,
    "starter": {"backends", "bill", "cargo", "docker", "engine", "foundry", "request", "store"} | VALUES | WORDS,
    "handle": {"backends", "cargo", "engine", "facts", "journal", "log", "swatch", "watch"} | VALUES | WORDS,
    "datasets": {"cargo", "facts", "store"} | VALUES | WORDS,
    "export": {"backends", "cargo", "facts", "journal", "store"} | VALUES | WORDS,
    "log": {"facts", "journal", "backends", "store", "watch"} | VALUES | WORDS,
    "swatch": {
        *(
            "backends",
            "bill",
            "cargo",
            "datasets",
            "docker",
            "engine",
            "facts",
            "foundry",
            "handle",
            "request",
            "starter",
        ),
        "store",
        "target",
    }
    | VALUES
    | WORDS,
    "sheet": WORDS,
    "simulator": {"account", "docker", "leash"} | WORDS,
    "report": {"watch", "sheet"} | WORDS,
    "unpack": {"store"} | WORDS,
    "shelf": {"journal", "store"} | WORDS,
    "agent": {"aws", "contract", "errors", "journal", "leash", "notice", "shelf", "store", "unpack"},
    "synthesize": {"texture", "flags"},
    "flags": {"texture"},
    "novelty": {"synthesize"},
    "texture": set(),
}
AGENT = set(agent.FILES["job_image"]) - {"__init__", "shelf", "unpack"}
TOP = {"cli", "__main__", "__init__"}


def part_of(module: str) -> str:
    """`orchestrator.store.local` is of the part `store`; the agent's modules are of one part."""
    name = module.split(".")[1] if "." in module else "__init__"
    return "agent" if module.startswith("job_image.") and name in AGENT else name


def files() -> list[Path]:
    return sorted([*(REPOSITORY / "orchestrator").rglob("*.py"), *(REPOSITORY / "job_image").rglob("*.py")])


def module_of(file: Path) -> str:
    parts = list(file.relative_to(REPOSITORY).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path) -> set[str]:
    """Ours that a file imports, lazily or not."""
    package = module_of(file).split(".") if file.name == "__init__.py" else module_of(file).split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module} if "." in module else {f"{module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in ("orchestrator", "job_image")}


@pytest.mark.parametrize("file", files(), ids=module_of)
def test_arrows_point_down(file: Path) -> None:
    part = part_of(module_of(file))
    if part in TOP:
        return
    assert part in MAY_IMPORT, f"{part} has no place in the house yet: give it one here"
    wrong = {
        name for name in imports(file) if part_of(name) not in MAY_IMPORT[part] | {part, "__init__", "__version__"}
    }
    assert not wrong, f"{module_of(file)} must not import {sorted(wrong)}"


def test_backends_and_verbs_never_import_a_sibling_backend() -> None:
    for file in (REPOSITORY / "orchestrator" / "backends").glob("[a-z]*.py"):  # all but `__init__`, which opens them
        others = {f"orchestrator.backends.{name}" for name in {"docker", "sagemaker"} - {file.stem}}
        assert not {name for name in imports(file) if any(name.startswith(other) for other in others)}


HEAVY = ("tensorflow", "keras", "numpy", "PIL", "boto3", "sagemaker", "rich", "yaml", "jinja2")


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("orchestrator.cli", ()),
        ("orchestrator.cli.logs", ()),
        ("orchestrator.cli.submit", ("yaml",)),
        ("job_image.agent", ()),
    ],
)
def test_what_is_heavy_is_imported_when_it_is_used(module: str, allowed: tuple[str, ...]) -> None:
    program = (
        f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules and name not in {allowed}])"
    )
    out = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_what_travels_with_the_agent_needs_the_standard_library_alone() -> None:
    """Images that are not ours have no click, no msgspec."""
    program = (
        "import sys, job_image.agent; ours = {'orchestrator', 'job_image'};"
        "print(sorted({m.split('.')[0] for m in sys.modules} - set(sys.stdlib_module_names) - ours - {'__main__'}))"
    )
    out = subprocess.run(
        [sys.executable, "-S", "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"


def test_the_program_run_by_its_path_hides_no_module_of_the_standard_library() -> None:
    """`python3 job_image/synthesize.py` puts its folder in front of all others."""
    hidden = {file.stem for file in (REPOSITORY / "job_image").iterdir()} & set(sys.stdlib_module_names)
    assert not hidden
