"""Sources: each bad file is refused at the line that names it; a file is opened once."""

from __future__ import annotations

import hashlib
import os
import struct
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from orchestrator import manifest, plan
from orchestrator.cargo import source
from orchestrator.errors import ManifestError
from orchestrator.job import Source


def picture(path: Path, width: int = 40, height: int = 32, form: str | None = None, color: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), color).save(path, form)
    return path


def header(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    ihdr = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def drafted(folder: Path, text: str) -> tuple[manifest.Draft, plan.Sources]:
    path = folder / "forest.yaml"
    path.write_text(text)
    return source.examine(path)[:2]


def problems(folder: Path, text: str) -> list[str]:
    draft, _ = drafted(folder, text)
    return [problem.sentence("forest.yaml").replace(str(folder), "HERE") for problem in draft.problems]


def textures(*sources: str) -> str:
    return "name: forest\ntextures:\n" + "".join(f"  - source: {one}\n" for one in sources)


def problem(folder: Path, one: str) -> str:
    """The one problem of a manifest whose second texture has this source."""
    picture(folder / "good.png")
    [found] = problems(folder, textures("good.png", one))
    return found.removeprefix("forest.yaml:4:5: textures[1].source: ")


def test_what_a_source_says_of_itself(tmp_path: Path) -> None:
    path = picture(tmp_path / "textures" / "bark.png", 50, 40)
    _, [[[found]]] = drafted(tmp_path, textures("textures/bark.png"))
    assert found.path == path.as_posix()
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (found.size, found.width, found.height) == (path.stat().st_size, 50, 40)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_every_format_is_read_whatever_its_name(tmp_path: Path, form: str) -> None:
    picture(tmp_path / "bark", form=form)
    draft, [[[found]]] = drafted(tmp_path, textures("bark"))
    assert (draft.problems, found.width, found.height) == ([], 40, 32)


def test_another_format_is_no_image(tmp_path: Path) -> None:
    picture(tmp_path / "bark.png", form="PPM")
    assert problem(tmp_path, "bark.png").startswith('"HERE/bark.png" is no image that can be read: PNG, JPEG,')


def test_a_missing_file_names_the_folder_and_a_near_name(tmp_path: Path) -> None:
    picture(tmp_path / "textures" / "bark.png")
    sentence = '"HERE/textures/brak.png" (looked in HERE/textures); did you mean "bark.png"?'
    assert problem(tmp_path, "textures/brak.png") == f"no such file: {sentence}"
    assert problem(tmp_path, "missing/x.png") == 'no such file: "HERE/missing/x.png" (looked in HERE/missing)'


@pytest.mark.parametrize(
    ("missing", "near"),
    [
        ("oak.png", ""),
        ("stone.png", ""),
        ("notes.png", ""),
        ("a.png", ""),
        ("bark.jpg", "bark.png"),
        ("BARK1.png", "bark.png"),
    ],
)
def test_a_near_name_is_no_wild_guess(tmp_path: Path, missing: str, near: str) -> None:
    picture(tmp_path / "textures" / "bark.png")
    (tmp_path / "textures" / "notes.txt").write_text("mine")
    found = problem(tmp_path, f"textures/{missing}")
    assert found.endswith(f'; did you mean "{near}"?' if near else "(looked in HERE/textures)")


def test_a_glob_leaves_out_what_is_no_picture_by_its_name(tmp_path: Path) -> None:
    for name in ("a.PNG", "b.jpg"):
        picture(tmp_path / "photos" / name, form="PNG")
    (tmp_path / "photos" / "notes.txt").write_text("mine")
    draft, sources = drafted(tmp_path, textures("photos/*", '["photos/*"]') + "    name: both\n")
    assert draft.problems == []
    assert [[os.path.basename(one.path) for one in group] for group in sources[0]] == [["a.PNG"], ["b.jpg"]]
    assert [len(group) for group in sources[1]] == [2]
    assert problem(tmp_path, "photos/*.txt").startswith('"HERE/photos/notes.txt" is no image')
    assert problem(tmp_path, "photos/notes.txt").startswith('"HERE/photos/notes.txt" is no image')


def test_a_text_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("hello")
    assert problem(tmp_path, "x.png").startswith('"HERE/x.png" is no image')
    (tmp_path / "x.png").write_bytes(b"")
    assert problem(tmp_path, "x.png").startswith('"HERE/x.png" is no image')


def test_one_pixel_is_too_small(tmp_path: Path) -> None:
    picture(tmp_path / "x.png", 1, 1)
    assert problem(tmp_path, "x.png") == '"HERE/x.png" is too small: each side at least 32 pixels, got 1x1'


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (12_000, 10_000), (10_000, 9_999), (30_001, 100)])
@pytest.mark.filterwarnings("error")
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "x.png").write_bytes(header(width, height))
    if width * height <= 100_000_000 and width <= 30_000:
        draft, [[[found]]] = drafted(tmp_path, textures("x.png"))
        assert (draft.problems, found.width) == ([], width)
    else:
        found_problem = problem(tmp_path, "x.png")
        assert found_problem.startswith('"HERE/x.png" is too large: at most 100 megapixels, no side over 30,000')


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_file_that_was_cut_off(tmp_path: Path, form: str) -> None:
    path = tmp_path / "x.png"
    Image.radial_gradient("L").save(path, form)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert problem(tmp_path, "x.png").startswith(('"HERE/x.png" is damaged: ', '"HERE/x.png" is cut off: '))


def test_a_file_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = picture(tmp_path / "x.png", 200, 200).stat().st_size
    picture(tmp_path / "good.png")
    monkeypatch.setattr(source, "MAX_BYTES", size - 1)
    assert problem(tmp_path, "x.png").startswith('"HERE/x.png" is larger than')


def test_a_folder_and_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert problem(tmp_path, "folder") == '"HERE/folder" is a folder: name its files, as in "HERE/folder/*.png"'
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe")
        assert problem(tmp_path, "pipe") == '"HERE/pipe" is no regular file'


STYLED = "name: forest\ntextures:\n  - source: a.png\n    content: {}\n    method: {}\n"


def test_a_picture_to_paint_is_looked_at_as_sources_are(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    town = picture(tmp_path / "town.png", color="blue")
    (tmp_path / "m.yaml").write_text(STYLED.format("town.png", "style"))
    draft, sources, contents = source.examine(tmp_path / "m.yaml")
    [task] = plan.expand(draft.check(), sources, contents)
    assert task.content is not None and task.content.sha256 == hashlib.sha256(town.read_bytes()).hexdigest()
    assert [one.path for one in task.pictures] == [str(tmp_path / "a.png"), str(town)]
    at = "forest.yaml:4:5: textures[0].content: "
    assert problems(tmp_path, STYLED.format("none.png", "style"))[0].startswith(f'{at}no such file: "HERE/none.png"')
    assert problems(tmp_path, STYLED.format('"*.png"', "style")) == [f'{at}"*.png" matches 2 files: name one']
    assert problems(tmp_path, STYLED.format("town.png", "gatys")) == [f"{at}is for the method style: add method: style"]
    assert problems(tmp_path, "name: forest\ntextures:\n  - source: a.png\nmatrix: {method: [gatys, style]}\n") == [
        "forest.yaml:4:26: matrix.method[1]: style needs a picture to paint: add content: PICTURE to textures[0]"
    ]


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="needs a user who is not root: root may read every file"
)
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    picture(tmp_path / "x.png").chmod(0)
    assert problem(tmp_path, "x.png") == '"HERE/x.png" may not be read: chmod u+r it'


def test_a_glob_makes_a_texture_of_each_file_sorted(tmp_path: Path) -> None:
    for name in ("c.png", "a.png", "b.png", "d.txt"):
        picture(tmp_path / "textures" / name, form="PNG")
    (tmp_path / "textures" / "e.png").mkdir()
    draft, sources = drafted(tmp_path, textures("textures/*.png"))
    assert [[os.path.basename(one.path) for one in group] for group in sources[0]] == [["a.png"], ["b.png"], ["c.png"]]
    assert [task.name for task in plan.expand(draft.check(), sources)] == ["a", "b", "c"]


def test_a_glob_that_matches_nothing(tmp_path: Path) -> None:
    assert problem(tmp_path, '"*.jpg"') == 'no file matches "*.jpg" (looked in HERE)'
    assert problem(tmp_path, '"**/*.png"').startswith('"**" is not read here')


def test_a_name_with_signs_of_a_glob_is_itself_and_so_is_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "odd [1]*"
    picture(folder / "a[1].png")
    picture(folder / "b.png")
    draft, sources = drafted(folder, textures('"a[1].png"', '"b*.png"'))
    assert (draft.problems, [len(groups) for groups in sources]) == ([], [1, 1])


def test_a_list_is_one_texture_and_a_file_counts_once(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        picture(tmp_path / name)
    _, sources = drafted(tmp_path, textures('[b.png, "*.png"]'))
    assert [[os.path.basename(one.path) for one in group] for group in sources[0]] == [["b.png", "a.png"]]


def test_a_problem_in_a_list_stands_at_its_item(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    [found] = problems(tmp_path, textures("[a.png, b.png]"))
    assert found.startswith('forest.yaml:3:21: textures[0].source[1]: no such file: "HERE/b.png"')


def test_a_problem_after_a_refused_item_stands_at_its_own(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    found = problems(tmp_path, textures("[12, b.png]", "[12, a.png]"))
    assert [one.split(": ")[1] for one in found] == [
        "textures[0].source[0]",
        "textures[0].source[1]",
        "textures[1].source[0]",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text elsewhere")
def test_a_file_name_that_is_no_text(tmp_path: Path) -> None:
    picture(tmp_path / "good.png").rename(tmp_path / os.fsdecode(b"\xff.jpg"))
    assert problem(tmp_path, '"*.jpg"') == '"HERE/\\udcff.jpg" has a name that is not UTF-8: rename it'


def test_one_name_for_a_glob(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    assert problems(tmp_path, textures('"*.png"') + "    name: x\n") == []
    picture(tmp_path / "b.png")
    [found] = problems(tmp_path, textures('"*.png"') + "    name: x\n")
    assert found == (
        "forest.yaml:4:5: textures[0].name: one name for 2 files: make source a list for one texture from all, "
        "or drop the name"
    )


def test_two_tasks_of_one_name_are_named_both(tmp_path: Path) -> None:
    for name in ("a/bark.png", "b/Bark.png", "c/Bark!.png"):
        picture(tmp_path / name)
    [found] = problems(tmp_path, textures("a/bark.png", "b/Bark.png"))
    assert found == (
        'forest.yaml:4:5: textures[1].source: makes the texture "bark", as does textures[0] on line 3: '
        "give one of them another name"
    )
    [found] = problems(tmp_path, textures("a/bark.png", "b/Bark.png") + "    name: BARK\n")
    assert found.startswith('forest.yaml:5:5: textures[1].name: makes the texture "BARK", as does textures[0]')
    [found] = problems(tmp_path, textures('"*/[Bb]ark*.png"').replace("*/", "[bc]/"))
    assert found.startswith('forest.yaml:3:5: textures[0].source: "HERE/b/Bark.png" and "HERE/c/Bark!.png" both make')


def test_a_clash_is_said_once_for_all_combinations(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    assert len(problems(tmp_path, textures("a.png", "a.png") + "matrix: {seed: [1, 2, 3]}\n")) == 1


def test_too_many_tasks_once_the_files_are_counted(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        picture(tmp_path / name)
    seeds = ", ".join(map(str, range(6000)))
    [found] = problems(tmp_path, textures('"*.png"') + f"matrix: {{seed: [{seeds}]}}\n")
    assert found == "forest.yaml:2:1: textures: 12,000 tasks: a manifest holds 10,000 at most"


def test_a_file_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.png")
    opened: list[str] = []
    real = source._source

    def counting(path: str) -> Source:
        opened.append(path)
        return real(path)

    monkeypatch.setattr(source, "_source", counting)
    found = problems(tmp_path, textures("a.png", "./a.png", "[a.png]", "b.png", "b.png"))
    assert sum("no such file" in one for one in found) == 2
    assert [os.path.basename(path) for path in opened] == ["a.png", "b.png"]


def test_a_link_out_and_a_path_out_are_followed(tmp_path: Path) -> None:
    outside = picture(tmp_path / "outside" / "a.png")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link.png").symlink_to(outside)
    draft, sources = drafted(inside, textures("link.png", "../outside/a.png", str(outside)) + "    name: b\n")
    assert draft.problems == []
    assert len({group[0].sha256 for groups in sources for group in groups}) == 1


def test_folders_of_data_and_code(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    text = "name: x\ncommand: 'true'\ncode: nowhere\ndata:\n- ./weights:a\n- ./missing:b\n- s3://bucket/x:c\n- me/vgg/1:d\n"
    assert problems(tmp_path, text) == [
        'forest.yaml:3:1: code: no such folder: "HERE/nowhere"',
        'forest.yaml:6:3: data[1]: no such folder: "HERE/missing"',
    ]
    assert problems(tmp_path, "name: x\ncommand: 'true'\ndata: ['./weights:a', '.:b', '..:c']\n") == []


def test_load_gives_all_problems_of_manifest_and_files(tmp_path: Path) -> None:
    path = tmp_path / "forest.yaml"
    path.write_text(textures("a.png") + "    width: 1\nretries: -1\n")
    with pytest.raises(ManifestError) as caught:
        source.examine(path).draft.check()
    assert [problem.where for problem in caught.value.problems] == [
        "textures[0].source",
        "textures[0].width",
        "retries",
    ]
    picture(tmp_path / "a.png")
    path.write_text(textures("a.png"))
    draft, sources, _ = source.examine(path)
    wish = draft.check()
    assert [task.name for task in plan.expand(wish, sources)] == ["a"]


def test_an_unreadable_manifest_has_no_sources(tmp_path: Path) -> None:
    draft, sources = drafted(tmp_path, "a: [")
    assert (draft.manifest, list(sources)) == (None, [])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_images_never_raise(tmp_path: Path, data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"]))
    path = picture(tmp_path / "x.png", form=form)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, min(len(content), 200) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    draft, sources = drafted(tmp_path, textures("x.png"))
    assert len(draft.problems) == 1 or len(sources[0]) == 1


def test_an_address_is_no_file(tmp_path: Path) -> None:
    assert "addresses are not read here yet" in problem(tmp_path, "https://example.org/a.png")
    assert "addresses are not read here yet" in problem(tmp_path, "s3://bucket/*.png")


def test_a_scale_that_cannot_work_is_said_with_all_the_rest(tmp_path: Path) -> None:
    picture(tmp_path / "flat.png", 80, 48)
    found = problems(tmp_path, "name: x/y\ntextures:\n  - source: flat.png\n    source_width: 40\n    sede: 1\n")
    assert [one.split(" ")[0] for one in found] == ["forest.yaml:1:1:", "forest.yaml:4:5:", "forest.yaml:5:5:"]
    assert 'source_width: 40 makes "flat.png", 80x48, 24 pixels high' in found[1]
