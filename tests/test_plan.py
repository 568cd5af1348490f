"""Expanding and packing: deterministic, names unique, and a fingerprint of what is made and nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from job_image.texture import checkpoint
from job_image.texture.levels import source_sizes
from job_image.texture.parameters import Parameters
from orchestrator import decoder, plan
from orchestrator.cargo.source import examine, resolve
from orchestrator.errors import ManifestError
from orchestrator.job import Source, Task
from orchestrator.manifest import Manifest, Texture, TextureParameters, read
from orchestrator.project import check_name

DIGEST = "0123456789abcdef" * 4


def source(path: str, digest: str = DIGEST) -> Source:
    return Source(path=path, sha256=digest, size=1, width=64, height=64)


def one(path: str = "a.png", **parameters: Any) -> tuple[Manifest, plan.Sources]:
    texture = Texture(index=0, patterns=(path,), parameters=parameters)
    return Manifest(name="forest", textures=(texture,)), [[(source(path),)]]


def task(name: str, command: str | None = None) -> Task:
    return Task(name=name, fingerprint=DIGEST, command=command)


def test_editions_of_the_engine_agree() -> None:
    """One stands for finished results, the other for states in the making: new pictures must raise both."""
    assert plan.ENGINE == checkpoint.EDITION


def test_parameters_are_complete_and_precedence_is_matrix_texture_defaults() -> None:
    texture = Texture(index=0, patterns=("a.png",), parameters={"height": 64, "seed": 5})
    wish = Manifest(
        name="forest",
        textures=(texture,),
        defaults={"width": 512, "height": 512, "method": "patch", "seed": 4},
        matrix={"seed": (6, 7)},
    )
    tasks = plan.expand(wish, [[(source("a.png"),)]])
    assert [task.name for task in tasks] == ["a-seed6", "a-seed7"]
    given = {"width": 512, "height": 64, "seed": 6, "method": "patch"}
    assert {key: tasks[0].parameters[key] for key in given} == given
    assert tasks[0].parameters["source_width"] is None
    assert tasks[1].parameters["seed"] == 7


def test_a_size_of_the_matrix_is_width_and_height() -> None:
    wish, sources = one(width=40, height=50)
    wish = msgspec.structs.replace(wish, matrix={"size": ((128, 128), (64, 32)), "source_width": (None, 64)})
    tasks = plan.expand(wish, sources)
    assert [task.name for task in tasks] == [
        "a-size128x128-source_widthnull",
        "a-size128x128-source_width64",
        "a-size64x32-source_widthnull",
        "a-size64x32-source_width64",
    ]
    assert {(task.parameters["width"], task.parameters["height"]) for task in tasks} == {(128, 128), (64, 32)}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("textures/bark.png", "bark"),
        ("/x/My Bark (1).JPG", "my-bark-1"),
        ("\u00c9corce.png", "ecorce"),
        ("a.b.png", "a.b"),
        ("con.png", "texture-con"),
        ("\u6728.png", "texture-01234567"),
        ("--x--.png", "x"),
        (".hidden", "hidden"),
        ("a" * 90 + ".png", "a" * 40),
    ],
)
def test_names_come_from_files(path: str, name: str) -> None:
    wish, sources = one(path)
    assert [task.name for task in plan.expand(wish, sources)] == [name]
    assert check_name(name) is None


def test_a_glob_makes_a_texture_of_each_file_and_a_list_one_of_all() -> None:
    wish = Manifest(
        name="forest",
        textures=(
            Texture(index=0, patterns=("*.png",)),
            Texture(index=1, patterns=("a.png", "b.png"), together=True, name="Both"),
        ),
    )
    a, b = source("a.png"), source("b.png", "f" * 64)
    tasks = plan.expand(wish, [[(a,), (b,)], [(a, b)]])
    assert [(task.name, task.sources) for task in tasks] == [("a", (a,)), ("b", (b,)), ("Both", (a, b))]


def test_a_command_without_a_matrix_is_one_task_of_the_manifests_name() -> None:
    wish = Manifest(name="sweep", command="echo {{x}} ${HOME}")
    [only] = plan.expand(wish, [], code="c", data={"weights": "d"})
    assert (only.name, only.command, only.parameters, only.prefix) == ("sweep", "echo {x} ${HOME}", {}, "")


def test_a_commands_values_are_filled_and_named() -> None:
    wish = Manifest(
        name="sweep", command="train {lr} {tag}", matrix={"lr": ("1e-3", "-1"), "tag": ("a b", "a-b", "", "A B")}
    )
    tasks = plan.expand(wish, [], code="c")
    assert tasks[0].command == "train 1e-3 'a b'"
    assert tasks[0].parameters == {"lr": "1e-3", "tag": "a b"}
    assert [task.name for task in tasks[:4]] == [
        "sweep-lr1e-3-taga-b",
        "sweep-lr1e-3-taga-b.2",
        "sweep-lr1e-3-tag",
        "sweep-lr1e-3-tagA-B.3",
    ]
    assert tasks[4].name == "sweep-lr-1-taga-b"


values = st.lists(st.text(max_size=70), min_size=1, max_size=5, unique=True).map(tuple)


@settings(deadline=None)
@given(st.dictionaries(st.from_regex("[a-z_][a-z0-9_]{0,5}", fullmatch=True), values, max_size=3))
def test_a_sweeps_names_are_unique_valid_and_the_same_again(matrix: dict[str, tuple[str, ...]]) -> None:
    wish = Manifest(name="s" * 30, command=" ".join(f"{{{key}}}" for key in matrix) or "true", matrix=matrix)
    tasks = plan.expand(wish, [])
    assert len({task.name.lower() for task in tasks}) == len(tasks) == wish.combinations
    assert all(check_name(task.name) is None for task in tasks)
    assert len({task.fingerprint for task in tasks}) == len(tasks)
    assert plan.expand(wish, []) == tasks


sides = st.integers(32, 8192)
parameters = st.fixed_dictionaries(
    {},
    optional={
        "width": sides,
        "height": sides,
        "seed": st.integers(0, 2147483647),
        "source_width": st.none() | sides,
        "method": st.sampled_from(["auto", "patch"]),
    },
)


@settings(deadline=None)
@given(parameters, parameters, st.randoms())
def test_a_fingerprint_is_of_what_is_made(first: dict[str, Any], second: dict[str, Any], random: Any) -> None:
    keys = list(first)
    random.shuffle(keys)
    [mine], [shuffled], [other] = (
        plan.expand(*one(**given)) for given in (first, {key: first[key] for key in keys}, second)
    )
    assert mine.fingerprint == shuffled.fingerprint
    assert (mine.fingerprint == other.fingerprint) == (
        # `auto` is another word for `patch`.
        {**mine.parameters, "method": "patch"} == {**other.parameters, "method": "patch"}
    )
    assert decoder.from_json(msgspec.json.encode(mine), Task) == mine


def test_each_parameter_and_source_changes_the_fingerprint_and_nothing_else_does() -> None:
    wish, sources = one()
    [base] = plan.expand(wish, sources)
    assert set(base.parameters) == set(TextureParameters.__struct_fields__)
    changed: dict[str, Any] = {"width": 300, "height": 300, "seed": 1, "source_width": 64}
    found = {plan.expand(*one("a.png", **{key: value}))[0].fingerprint for key, value in changed.items()}
    a, b = source("a.png"), source("b.png", "f" * 64)
    found |= {plan.expand(wish, [[group]])[0].fingerprint for group in [(b,), (a, b), (b, a), (a, a)]}
    assert len(found | {base.fingerprint}) == 9
    elsewhere = msgspec.structs.replace(wish, name="other", machine="gpu", max_cost=1.0, spot=True, backend="sagemaker")
    [moved] = plan.expand(elsewhere, [[(source("other/name.png"),)]])
    assert moved.fingerprint == base.fingerprint
    assert plan.expand(*one(width=256, method="auto"))[0].fingerprint == base.fingerprint


def test_a_painted_picture_and_its_weight_count_for_style_alone() -> None:
    def made(method: str, content: Source | None = None, **parameters: Any) -> Task:
        contents = {0: content} if content else {}
        return plan.expand(*one(method=method, **parameters), contents)[0]

    town, wood = source("town.png", "1" * 64), source("wood.png", "2" * 64)
    assert made("style", town).content == town and made("gatys", town).content is None
    styles = made("style", town), made("style", wood), made("style", town, content_weight=2.0), made("gatys")
    assert len({task.fingerprint for task in styles}) == 4
    assert made("gatys", town, content_weight=2.0).fingerprint == made("gatys").fingerprint


def test_weights_that_may_be_used_are_part_of_the_fingerprint() -> None:
    def made(method: str, **data: str) -> str:
        return plan.expand(*one(method=method), data=data)[0].fingerprint

    assert made("patch") == made("auto") == made("patch", vgg="a")
    assert len({made("patch"), made("auto", vgg="a"), made("auto", vgg="b"), made("swatch", vgg="a")}) == 4


def test_a_source_is_scaled_one_way(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    (tmp_path / "m.yaml").write_text(
        "name: forest\ntextures: [{source: a.png, source_width: 64}]\ndefaults: {source_scale: 0.5}\n"
    )
    with pytest.raises(ManifestError, match=r"m.yaml:3:.*source_width is given, too"):
        examine(tmp_path / "m.yaml").draft.check()


def test_fingerprints_do_not_drift() -> None:
    """What an older Swatch made must be found again: this text changes with ENGINE only."""
    parameters = (
        '{"bits":8,"count":1,"frame_distance":"lap1","frame_octaves":null,"frame_order":2,"frame_shift":5.0,'
        '"frame_weight":1.0,"height":256,"iterations":null,"join":"average","landmarks":"soften","layers":null,"method":"patch",'
        '"multiply":1.0,"octaves":null,"padding":"valid","seamless":null,"seed":0,"source_scale":null,'
        '"source_width":null,"start":"noise","tolerance":1e-09,"width":256}'
    )
    text = f'{{"engine":"texture/6","parameters":{parameters},"sources":["{DIGEST}"]}}'
    [texture] = plan.expand(*one())
    assert texture.fingerprint == hashlib.sha256(text.encode()).hexdigest()
    text = '{"code":"c","command":"train \\u00e9","data":{"w":"d"}}'
    assert plan.command_fingerprint("train \u00e9", "c", {"w": "d"}) == hashlib.sha256(text.encode()).hexdigest()


def test_a_commands_fingerprint_is_of_command_code_and_data() -> None:
    made = {
        plan.command_fingerprint(command, code, data)
        for command, code, data in [("a", None, {}), ("b", None, {}), ("a", "c", {}), ("a", "c", {"m": "d"}),
                                    ("a", "c", {"n": "d"}), ("a", "c", {"m": "e"})]
    }  # fmt: skip
    assert len(made) == 6
    assert plan.command_fingerprint("a", "c", {}, "x:1") != plan.command_fingerprint("a", "c", {})
    assert plan.command_fingerprint("a", "c", {"m": "1", "n": "2"}) == plan.command_fingerprint(
        "a", "c", {"n": "2", "m": "1"}
    )


@settings(deadline=None)
@given(st.integers(0, 200), st.none() | st.integers(1, 50))
def test_packing_is_a_partition_that_keeps_the_order(count: int, per_job: int | None) -> None:
    tasks = [task(f"t{number}") for number in range(count)]
    jobs = plan.pack(tasks, per_job)
    assert [task for job in jobs for task in job] == tasks
    sizes = [len(job) for job in jobs]
    limit = per_job or plan.AUTO_TASKS_PER_JOB
    assert all(0 < size <= limit for size in sizes)
    assert len(jobs) == -(-count // limit)
    if per_job is None and sizes:
        assert max(sizes) - min(sizes) <= 1


def test_a_command_has_a_job_of_its_own() -> None:
    tasks = [task(f"t{number}", "true") for number in range(3)]
    assert plan.pack(tasks, None) == [(one,) for one in tasks]


@pytest.mark.parametrize(
    ("size", "width", "works"),
    [
        ((80, 64), 40, True),
        ((80, 48), 40, False),
        ((64, 32), 40, False),
        ((64, 2000), 8192, False),
        ((64, 64), 8192, True),
    ],
)
def test_a_source_width_that_the_engine_would_refuse_is_refused_before(
    tmp_path: Path, size: tuple[int, int], width: int, works: bool
) -> None:
    """The planner and the engine agree, for a picture that a camera has turned too."""
    mark = Image.Exif()
    mark[0x0112] = 6  # stored lying on its side
    Image.new("RGB", size[::-1]).save(tmp_path / "a.jpg", exif=mark)
    (tmp_path / "m.yaml").write_text(f"name: m\ntextures:\n  - source: a.jpg\nmatrix:\n  source_width: [64, {width}]\n")
    draft = read(tmp_path / "m.yaml")
    plan.check_scales(draft, resolve(draft))
    problems = [problem for problem in draft.problems if str(width) in problem.message]
    assert (not problems) == works
    assert all(problem.line == 5 for problem in problems)
    if works:
        source_sizes([size], Parameters(source_width=width))
    else:
        with pytest.raises(ValueError, match="source_width"):
            source_sizes([size], Parameters(source_width=width))


def test_auto_is_the_method_it_stands_for() -> None:
    some = {"width": 64, "height": 64, "seed": 0, "source_width": None}
    auto, patch = ({**some, "method": method} for method in ("auto", "patch"))
    assert plan.fingerprint(auto, ["a"], {}) == plan.fingerprint(patch, ["a"], {})
