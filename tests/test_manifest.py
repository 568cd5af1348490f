"""Every bad manifest is refused at its line, with every problem at once; the schema and the reader agree."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from job_image.texture import levels
from job_image.texture.parameters import Parameters
from orchestrator import document, duration, entries, manifest
from orchestrator.errors import ManifestError, NotFound, UsageError
from orchestrator.project import check_name

MANIFESTS = Path(__file__).parent.parent / "manifests"
TEXTURES = "name: forest\ntextures:\n  - source: a.png\n"
COMMAND = "name: forest\ncommand: train {lr}\nmatrix:\n  lr: [1, 2]\n"


def draft(folder: Path, text: str | bytes) -> manifest.Draft:
    path = folder / "forest.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return manifest.read(path)


def sentences(folder: Path, text: str | bytes) -> list[str]:
    """Each problem without the folder: `forest.yaml:3:5: textures[0].width: ...`."""
    return [problem.sentence("forest.yaml") for problem in draft(folder, text).problems]


def read(folder: Path, text: str) -> manifest.Manifest:
    return draft(folder, text).check()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "1:1: the manifest is empty: it needs a name, and textures or a command"),
        ("# only a remark\n", "1:1: the manifest is empty: it needs a name, and textures or a command"),
        ("- a\n", "1:1: expected keys like name and textures, got a list"),
        ("forest\n", '1:1: expected keys like name and textures, got "forest"'),
        ("name: forest\n", '1:1: missing key "textures" (or "command")'),
        ("textures: [{source: a.png}]\n", '1:1: missing key "name"'),
        ("name:\ntextures: [{source: a.png}]\n", "1:1: name: expected text, got nothing"),
        ("name: 12\ntextures: [{source: a.png}]\n", "1:1: name: expected text, got 12: put it in quotes"),
        ("name: ../x\ntextures: [{source: a}]\n", '1:1: name: the name "../x" would leave the output folder: a name holds'),
        (TEXTURES + "    name: /x\n", '4:5: textures[0].name: the name "/x" would leave the output folder: a name holds'),
        (TEXTURES + "    name: CON\n", '4:5: textures[0].name: the name "CON" is reserved on Windows'),
        (TEXTURES + "    name: com1.png\n", '4:5: textures[0].name: the name "com1.png" is reserved on Windows'),
        (TEXTURES + "    widht: 64\n", '4:5: textures[0].widht: unknown key "widht"; did you mean "width"?'),
        (TEXTURES + "zzz: 64\n", '4:1: zzz: unknown key "zzz"; known are name, machine, backend,'),
        (TEXTURES + '"a\\eb": 64\n', '4:1: "a\\x1bb": unknown key "a\\x1bb"; known are'),
        (TEXTURES + "    width: -4\n", "4:5: textures[0].width: expected an integer of at least 32, got -4"),
        (TEXTURES + "    width: 9000\n", "4:5: textures[0].width: expected an integer of at most 8192, got 9000"),
        (TEXTURES + "    width: big\n", '4:5: textures[0].width: expected an integer from 32 to 8192, got "big"'),
        (TEXTURES + "    width: 64.0\n", "4:5: textures[0].width: expected an integer from 32 to 8192, got 64.0"),
        (TEXTURES + "    width: true\n", "4:5: textures[0].width: expected an integer from 32 to 8192, got true"),
        (TEXTURES + "    width: null\n", "4:5: textures[0].width: expected an integer from 32 to 8192, got nothing"),
        (TEXTURES + "    source_width: x\n", "4:5: textures[0].source_width: expected an integer from 32 to 8192, or null"),
        (TEXTURES + "    seed: 2147483648\n", "4:5: textures[0].seed: expected an integer of at most 2147483647"),
        (TEXTURES + "    method: patsch\n", '4:5: textures[0].method: expected "auto", "gatys", "patch", "snelgrove", "style" or "swatch"'),
        (TEXTURES + "    size: 16x64\n", '4:5: textures[0].size: expected a size like 512 or "512x256", each side from'),
        (TEXTURES + "    size: 64\n    width: 64\n", "4:5: textures[0].size: says the same as width and height"),
        (TEXTURES + "defaults:\n  height: 64\n  size: 64\n", "6:3: defaults.size: says the same as width and height"),
        (TEXTURES + "matrix:\n  size: [64]\n  width: [64]\n", "5:3: matrix.size: says the same as width and height"),
        (TEXTURES + "  - seed: 1\n", '4:5: textures[1]: missing key "source"'),
        (TEXTURES + "  - source: []\n", "4:5: textures[1].source: expected at least 1 entry, got none"),
        (TEXTURES + "  - source: ''\n", "4:5: textures[1].source: expected text, got none"),
        (TEXTURES + "  - source: 12\n", "4:5: textures[1].source: expected text, or a list, got 12: put it in quotes"),
        (TEXTURES + "  - source: [a, 12]\n", "4:17: textures[1].source[1]: expected text, got 12: put it in quotes"),
        (TEXTURES + "  - a.png\n", '4:5: textures[1]: expected a mapping, got "a.png"'),
        ("name: forest\ntextures: []\n", "2:1: textures: expected at least 1 entry, got none"),
        ("name: forest\ntextures:\n", "2:1: textures: expected a list, got nothing"),
        (TEXTURES + "machine: ml g5\n", '4:1: machine: unknown machine "ml g5"'),
        (TEXTURES + "backend: moon\n", '4:1: backend: expected "docker", "local" or "sagemaker", got "moon"'),
        (TEXTURES + "spot: yes\n", '4:1: spot: expected true or false, got "yes"'),
        (TEXTURES + "max_runtime: soon\n", "4:1: max_runtime: expected a duration like 90s, 30m, 2h, 1d or 1h30m, got"),
        (TEXTURES + "max_runtime: 29d\n", '4:1: max_runtime: expected a duration from 1s to 28d, got "29d"'),
        (TEXTURES + "max_runtime: 0\n", "4:1: max_runtime: expected a duration from 1s to 28d, got 0"),
        (TEXTURES + "max_runtime: 1:30\n", '4:1: max_runtime: expected a duration like 90s, 30m, 2h, 1d or 1h30m, got "1:30"'),
        (TEXTURES + "max_cost: 0\n", "4:1: max_cost: expected a number above 0, got 0"),
        (TEXTURES + "max_cost: cheap\n", '4:1: max_cost: expected a number above 0, or null, got "cheap"'),
        (TEXTURES + "tasks_per_job: 0\n", "4:1: tasks_per_job: expected an integer of at least 1, got 0"),
        (TEXTURES + "tasks_per_job: some\n", '4:1: tasks_per_job: expected an integer from 1 to 1000, or "auto", got "some"'),
        (TEXTURES + "retries: 11\n", "4:1: retries: expected an integer of at most 10, got 11"),
        (TEXTURES + "data: ./a:a\n", '4:1: data: expected a list, got "./a:a"'),
        (TEXTURES + "data: [./a]\n", '4:8: data[0]: expected source:mount, as in ./weights:weights, got "./a"'),
        (TEXTURES + "data: ['./a:b/c']\n", '4:8: data[0]: the mount "b/c" must be one folder name'),
        (TEXTURES + "data: ['./a:/output']\n", '4:8: data[0]: the mount "output" is taken'),
        (TEXTURES + "data: ['./a:x', './b:/X']\n", '4:17: data[1]: the mount "X" is taken on line 4 already'),
        (TEXTURES + f"data: [{', '.join(f'./a:m{n}' for n in range(18))}]\n", "4:1: data: expected at most 16 entries, got 18"),
        (TEXTURES + "matrix: {}\n", "4:1: matrix: expected at least 1 entry, got none"),
        (TEXTURES + "matrix:\n  seed: []\n", "5:3: matrix.seed: expected at least 1 entry, got none"),
        (TEXTURES + "matrix:\n  sede: [1]\n", '5:3: matrix.sede: unknown parameter "sede"; did you mean "seed"?'),
        (TEXTURES + "matrix:\n  seed: [1, x]\n", "5:13: matrix.seed[1]: expected an integer from 0 to 2147483647, got"),
        (TEXTURES + "matrix:\n  seed: [1, 1]\n", "5:13: matrix.seed[1]: 1 stands in this list already"),
        (TEXTURES + "matrix:\n  size: [64, 64x64]\n", '5:14: matrix.size[1]: "64x64" stands in this list already'),
        (TEXTURES + "code: .\n", "4:1: code: belongs to a command: textures bring no code"),
        (TEXTURES + "command: x\n", "4:1: command: either textures or a command, not both"),
        (COMMAND + "defaults: {}\n", "5:1: defaults: belongs to textures"),
        (COMMAND + "tasks_per_job: 2\n", "5:1: tasks_per_job: a command is one task a job"),
        (COMMAND + "  batch: [1]\n", "5:3: matrix.batch: the command never uses {batch}"),
        (COMMAND + "  A: [1]\n", '5:3: matrix.A: a key of a matrix is lower-case letters, digits and _, got "A"'),
        (COMMAND.replace("[1, 2]", "[1, [2]]"), "4:11: matrix.lr[1]: expected one value (text, a number, true or false), got"),
        (COMMAND.replace("[1, 2]", "[~]"), "4:8: matrix.lr[0]: expected a value, got nothing"),
        (COMMAND.replace("{lr}", "{lr} {rate}"), "2:1: command: {rate} is no key of the matrix: add it there, or write {{rate}}"),
        ("name: a\ncommand: awk '{print}'\n", "2:1: command: {print} is no key of the matrix"),
        (COMMAND.replace("{lr}", "'{lr}'").replace("[1, 2]", "[a b]"), '2:1: command: {lr} stands within quotes, and "a b"'),
        ("name: a\ncommand: ' '\n", "2:1: command: expected text, got none"),
        ("name: &x a\ncommand: *x\n", "2:10: command: an alias (*x) is not read here"),
        ("name: a\nname: b\ncommand: c\n", '2:1: name: duplicate key "name": it stands on line 1 already'),
        ("name: a\ntextures: *.png\n", '2:11: text that begins with * must be quoted: "*.png"'),
    ],
)  # fmt: skip
def test_a_problem_stands_at_its_place(tmp_path: Path, text: str, sentence: str) -> None:
    found = sentences(tmp_path, text)
    assert [one for one in found if one.startswith("forest.yaml:" + sentence)], found


def test_a_message_is_this_sentence(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        read(tmp_path, TEXTURES + "    width: -4\n")
    path = tmp_path / "forest.yaml"
    assert caught.value.message == f"{path}:4:5: textures[0].width: expected an integer of at least 32, got -4"


def test_all_problems_at_once_and_in_order(tmp_path: Path) -> None:
    text = (
        "nmae: x\nmachine: 1\ntextures:\n  - source: a\n    width: 1\n    seed: -1\n  - {}\nretries: -1\nretries: 2\n"
    )
    found = sentences(tmp_path, text)
    assert [one.split(": ")[0] for one in found] == [
        f"forest.yaml:{place}" for place in ("1:1", "1:1", "2:1", "5:5", "6:5", "7:5", "8:1", "9:1")
    ]


def test_a_bomb_is_refused_without_expanding(tmp_path: Path) -> None:
    rows = "".join(f"b{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]\n" for n in range(1, 30))
    found = draft(tmp_path, "b0: &b0 [lol]\n" + rows)
    assert found.manifest is not None
    assert sum("an alias" in problem.message for problem in found.problems) == 29 * 9


def test_one_mistake_is_one_problem(tmp_path: Path) -> None:
    assert len(sentences(tmp_path, "name: a\ncommand: train {lr}\nmatrix: [lr]\n")) == 1
    assert len(sentences(tmp_path, "name: a\ncommand: train {lr}\nmatrix:\n  lr: []\n")) == 1
    assert len(sentences(tmp_path, "name: a\ntextures: &t\n  - source: a.png\n")) == 1
    assert len(sentences(tmp_path, "name: a\ntextures: !t\n  - sauce: a.png\n")) == 1
    assert len(sentences(tmp_path, TEXTURES + "    size: 1\n    size: 2\n")) == 2
    assert len(sentences(tmp_path, TEXTURES.replace("\n", "\r\n") + "retries: x\r\n")) == 1


def test_the_valid_parts_are_there_beside_the_problems(tmp_path: Path) -> None:
    found = draft(tmp_path, "name: CON\ntextures:\n  - nonsense\n  - source: a.png\n    width: 1\n    seed: 3\n")
    assert found.manifest is not None
    assert [(one.index, one.patterns, one.parameters) for one in found.manifest.textures] == [
        (1, ("a.png",), {"seed": 3})
    ]
    with pytest.raises(ManifestError):
        found.check()


def test_problems_of_others_are_sorted_in(tmp_path: Path) -> None:
    found = draft(tmp_path, TEXTURES + "retries: x\n")
    found.problem(("textures", 0, "source"), "no such file")
    assert [problem.line for problem in found.problems] == [3, 4]
    assert found.at("textures", 0, "source") == (3, 5)
    assert found.folder == tmp_path


def test_everything_given(tmp_path: Path) -> None:
    text = """
        name: forest
        machine: ml.g5.xlarge
        backend: sagemaker
        spot: true
        max_runtime: 1h30m
        max_cost: 5
        tasks_per_job: 4
        retries: 2
        data: ["./weights:/vgg", "a:b:c"]
        defaults: {size: 64x128, seed: 3}
        textures:
          - {source: a.png, width: 32}
          - {source: [a.png, "*.jpg"], name: both, method: patch, source_width: null}
        matrix: {size: [128, 64x32], seed: [1, 2]}
    """
    assert read(tmp_path, text) == manifest.Manifest(
        name="forest",
        machine="ml.g5.xlarge",
        backend="sagemaker",
        spot=True,
        max_runtime=5400,
        max_cost=5.0,
        tasks_per_job=4,
        retries=2,
        data=(manifest.DataMount("./weights", "vgg"), manifest.DataMount("a:b", "c")),
        defaults={"width": 64, "height": 128, "seed": 3},
        textures=(
            manifest.Texture(index=0, patterns=("a.png",), parameters={"width": 32}),
            manifest.Texture(
                index=1,
                patterns=("a.png", "*.jpg"),
                together=True,
                name="both",
                parameters={"method": "patch", "source_width": None},
            ),
        ),
        matrix={"size": ((128, 128), (64, 32)), "seed": (1, 2)},
    )


def test_machines_may_be_a_list_the_preferred_first(tmp_path: Path) -> None:
    found = read(tmp_path, TEXTURES + "machine: [ml.g5.xlarge, gpu]\n")
    assert (found.machine, found.fallbacks) == ("ml.g5.xlarge", ("gpu",))
    assert accepts(TEXTURES + "machine: [ml.g5.xlarge, gpu]\n")


def test_a_machine_that_cannot_be_read_is_one_problem(tmp_path: Path) -> None:
    (said,) = sentences(tmp_path, TEXTURES + "machine: [gpu, *other]\n")
    assert "an alias (*other) is not read here" in said


def test_nothing_but_what_must_be(tmp_path: Path) -> None:
    found = read(tmp_path, TEXTURES)
    assert (found.machine, found.backend, found.spot, found.max_runtime) == ("cpu", "local", False, 86400)
    assert (found.max_cost, found.tasks_per_job, found.retries, found.combinations) == (None, None, 0, 1)


def test_a_commands_values_are_the_texts_that_were_written(tmp_path: Path) -> None:
    found = read(tmp_path, COMMAND.replace("[1, 2]", "[1e-3, 0.10, 007, true, yes, 1:30, 'a b', '']"))
    assert found.matrix == {"lr": ("1e-3", "0.10", "007", "true", "yes", "1:30", "a b", "")}


def test_too_many_tasks_are_counted_not_made(tmp_path: Path) -> None:
    rows = ", ".join(map(str, range(32, 8000)))
    of_textures = sentences(tmp_path, TEXTURES + f"matrix:\n  seed: [{rows}]\n  width: [{rows}]\n")
    assert of_textures == ["forest.yaml:4:1: matrix: 63,489,024 tasks: a manifest holds 10,000 at most"]
    of_command = sentences(tmp_path, COMMAND.replace("{lr}", "{lr} {b}") + f"  b: [{rows}]\n")
    assert of_command == ["forest.yaml:3:1: matrix: 15,936 tasks: a manifest holds 10,000 at most"]


def test_more_textures_than_a_manifest_holds(tmp_path: Path) -> None:
    found = sentences(tmp_path, "name: a\ntextures:\n" + "- source: a\n" * 10_001)
    assert found == ["forest.yaml:2:1: textures: 10,001 tasks: a manifest holds 10,000 at most"]


def test_a_missing_manifest_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such manifest") as missing:
        manifest.read(tmp_path / "missing.yaml")
    assert missing.value.hint
    with pytest.raises(UsageError, match="is a folder") as folder:
        manifest.read(tmp_path)
    assert folder.value.hint
    with pytest.raises(UsageError, match="cannot be read"):
        manifest.read(tmp_path / ("x" * 300))
    with pytest.raises(UsageError, match="cannot be read"):
        manifest.read(tmp_path / "a\0b")


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("a", True), ("Bark-1.2_x", True), ("0", True), ("a" * 64, True), ("console", True), ("com", True), ("x.con", True),
        ("", False), ("a" * 65, False), (".", False), ("..", False), (".a", False), ("a.", False), ("-a", False),
        ("a/b", False), ("a\\b", False), ("a b", False), ("a\n", False), ("é", False), ("con", False), ("Nul.txt", False),
        ("COM1", False), ("lpt9.tar.gz", False),
    ],
)  # fmt: skip
def test_names(name: str, right: bool) -> None:
    assert (check_name(name) is None) is right


@settings(deadline=None)
@given(st.integers(0, 10**9))
def test_durations_round_trip(seconds: int) -> None:
    assert duration.parse(duration.written(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86400), ("1h30m", 5400), ("90", 90), ("0s", 0), ("", None),
     ("1.5h", None), ("h", None), ("30m1h", None), ("-1s", None), ("1 h", None), ("9" * 10, None), ("1h30", None)],
)  # fmt: skip
def test_durations(text: str, seconds: int | None) -> None:
    assert duration.parse(text) == seconds


# The schema.

schema = jsonschema.Draft7Validator(manifest.json_schema())


def accepts(text: str) -> bool:
    return bool(schema.is_valid(document.read(text.encode()).data))


def test_the_committed_schema_is_current() -> None:
    jsonschema.Draft7Validator.check_schema(manifest.json_schema())
    run = subprocess.run([sys.executable, "-m", "orchestrator.manifest"], capture_output=True, check=True)
    assert run.stdout.decode() == (MANIFESTS / "schema.json").read_text()


def test_the_schema_says_of_sources_what_the_engine_does_with_them() -> None:
    said = manifest.json_schema()["$defs"]["TextureEntry"]["properties"]["source_width"]["description"]
    assert "Null shrinks a source of a larger area than the result's to that area" in said
    assert levels.source_sizes([(512, 256)], Parameters(128, 128)) == ((181, 91),)
    assert levels.source_sizes([(64, 64)], Parameters(128, 128)) == ((64, 64),)
    assert levels.source_sizes([(512, 256)], Parameters(128, 128, source_width=400)) == ((400, 200),)


@pytest.mark.parametrize("path", sorted(MANIFESTS.glob("*.yaml")), ids=lambda path: path.name)
def test_our_own_manifests_are_read_and_valid(path: Path) -> None:
    assert manifest.read(path).check().name == path.stem
    assert accepts(path.read_text())
    assert path.read_text().startswith("# yaml-language-server: $schema=schema.json\n")


@pytest.mark.parametrize(
    "text",
    [
        "- a\n", "name: forest\n", "textures: [{source: a.png}]\n", "name: 12\ntextures: [{source: a.png}]\n",
        "name: ../x\ntextures: [{source: a.png}]\n", TEXTURES + "    name: /x\n", TEXTURES + "    name: a.\n",
        TEXTURES + "    widht: 64\n", TEXTURES + "zzz: 64\n", TEXTURES + "    width: -4\n", TEXTURES + "    width: 9000\n",
        TEXTURES + "    width: big\n", TEXTURES + "    width: null\n", TEXTURES + "    width: true\n",
        TEXTURES + "    seed: -1\n", TEXTURES + "    method: x\n", TEXTURES + "    size: 16x64\n",
        TEXTURES + "    size: 64x8193\n", TEXTURES + "    size: 064x64\n", TEXTURES + "    size: 64\n    width: 64\n",
        TEXTURES + "defaults: {size: 64, height: 64}\n", TEXTURES + "defaults: {name: x}\n", TEXTURES + "  - seed: 1\n",
        TEXTURES + "  - source: []\n", TEXTURES + "  - source: ''\n", TEXTURES + "  - source: 12\n",
        TEXTURES + "  - source: [a, 12]\n", TEXTURES + "  - a.png\n", "name: forest\ntextures: []\n",
        TEXTURES + "machine: ml g5\n", TEXTURES + "machine: []\n", TEXTURES + "machine: [a, b, a]\n",
        TEXTURES + "machine: [a, b, c, d, e, f]\n", TEXTURES + "machine: [a, 2]\n", TEXTURES + "backend: moon\n", TEXTURES + "spot: yes\n",
        TEXTURES + "max_runtime: soon\n", TEXTURES + "max_runtime: 0\n", TEXTURES + "max_runtime: ''\n",
        TEXTURES + "max_cost: 0\n", TEXTURES + "tasks_per_job: 1001\n", TEXTURES + "retries: 11\n",
        TEXTURES + "data: x\n", TEXTURES + "data: [./a]\n", TEXTURES + "data: ['./a:b/c']\n", TEXTURES + "matrix: {}\n",
        TEXTURES + "matrix: {seed: []}\n", TEXTURES + "matrix: {sede: [1]}\n", TEXTURES + "matrix: {seed: [x]}\n",
        TEXTURES + "code: .\n", TEXTURES + "command: x\n", COMMAND + "defaults: {}\n", COMMAND + "tasks_per_job: 2\n",
        COMMAND + "  A: [1]\n", COMMAND + "  b: 1\n", COMMAND + "  b: [[1]]\n", "name: a\ncommand: ''\n",
    ],
)  # fmt: skip
def test_schema_and_reader_refuse_the_same(tmp_path: Path, text: str) -> None:
    assert sentences(tmp_path, text)
    assert not accepts(text)


def test_the_schemas_sizes_are_the_readers() -> None:
    size = re.compile(entries._SIDE)
    assert [side for side in range(10_000) if size.fullmatch(str(side))] == list(range(32, 8193))


some = st.none() | st.booleans() | st.integers(-2, 300) | st.floats(allow_nan=False, allow_infinity=False)
words = some | st.sampled_from(["a", "a.png", "64x32", "2h", "auto", "cpu", "patch", "./a:b", "train {lr}", "../x", ""])
parameters = {
    "width": words, "height": words, "size": words, "seed": words, "source_width": words, "method": words,
}  # fmt: skip
structures = st.fixed_dictionaries(
    {"name": st.sampled_from(["forest", "CON", 3])},
    optional={
        "textures": st.lists(
            st.fixed_dictionaries({"source": words | st.lists(words)}, optional={"name": words, **parameters}) | words,
            max_size=3,
        ),
        "defaults": st.fixed_dictionaries({}, optional=parameters) | words,
        "matrix": st.dictionaries(st.sampled_from(["lr", "size", "seed", "A"]), st.lists(words, max_size=3) | words),
        **dict.fromkeys(("command", "code", "machine", "backend", "spot", "max_runtime", "max_cost", "retries"), words),
        "tasks_per_job": words,
        "data": st.lists(words, max_size=2) | words,
        "other": words,
    },
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("structures")


@settings(deadline=None)
@given(structures)
def test_whatever_the_reader_accepts_the_schema_accepts(folder: Path, value: dict[str, Any]) -> None:
    text = json.dumps(value)
    found = draft(folder, text)
    if not found.problems:
        assert list(schema.iter_errors(value)) == []
        assert found.manifest is not None


@settings(deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=100).map(lambda text: text.encode(errors="replace")))
def test_reading_never_raises_on_any_bytes(folder: Path, content: bytes) -> None:
    assert draft(folder, content).problems


anything = st.recursive(
    words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*entries.ManifestEntry.__struct_fields__, "x"]), anything, max_size=6))
def test_reading_never_raises_on_any_structure(folder: Path, value: dict[str, Any]) -> None:
    found = draft(folder, yaml.safe_dump(value))
    assert found.problems == sorted(found.problems)
    assert all("\n" not in problem.sentence("x") for problem in found.problems)


def test_a_command_that_could_not_start_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(f"name: m\ncommand: echo {'x' * 40_000}\n")
    (found,) = manifest.read(tmp_path / "m.yaml").problems
    assert found.where == "command"
    assert "32,768 bytes" in found.message


def test_thousands_of_problems_are_counted_not_all_printed(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("name: m\ntextures:\n" + "  - sauce: a.png\n" * 1000)
    with pytest.raises(ManifestError) as caught:
        manifest.read(tmp_path / "m.yaml").check()
    lines = caught.value.message.splitlines()
    assert len(lines) == 201
    assert lines[-1].endswith("more")
