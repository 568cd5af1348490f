"""From a manifest to tasks, and from tasks to jobs. Pure: the same values in, the same values out."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from orchestrator import command as commands
from orchestrator import contract, project
from orchestrator.entries import MAX_SIDE, MIN_SIDE
from orchestrator.job import Source, Task
from orchestrator.manifest import MAX_TASKS, Draft, Manifest, Texture, complete, sides
from orchestrator.wording import quoted, shown

ENGINE = "texture/6"
"""The synthesis engine's version; a new one makes new images, and so new fingerprints."""

AUTO_TASKS_PER_JOB = 16

Sources = Sequence[Sequence[tuple[Source, ...]]]
"""For each of a manifest's textures, in its order: the sources of each texture it makes (a glob makes several)."""
Contents = Mapping[int, Source]
"""The picture to paint of each of a manifest's textures that names one, by its index."""
STYLE = "style"
"""The one method that paints a picture."""
ONLY_FOR = {"content_weight": {STYLE}, "landmarks": {"auto", "patch", "swatch"}}
"""Parameters that are nothing to other methods: in their fingerprints they do not stand."""


class _Wanted(NamedTuple):
    name: str
    texture: Texture
    sources: tuple[Source, ...]
    chosen: dict[str, Any]


def expand(
    manifest: Manifest,
    sources: Sources,
    contents: Contents | None = None,
    *,
    code: str | None = None,
    data: Mapping[str, str] | None = None,
    image: str | None = None,
) -> list[Task]:
    """Every task of a checked manifest, in its order: each texture with every combination of the matrix.

    `sources` and `contents` come from `cargo.source.examine`. A command's fingerprint needs what it runs on: `code` is
    the digest of its snapshot, `data` maps each mount to the digest of its files, `image` is what the manifest names,
    if it does.
    """
    if manifest.command is not None:
        return _commands(manifest, manifest.command, code, data or {}, image)
    tasks = []
    for wanted in _wanted(manifest, sources):
        parameters = _parameters(manifest, wanted)
        content = (contents or {}).get(wanted.texture.index) if parameters["method"] == STYLE else None
        digests = [source.sha256 for source in wanted.sources]
        tasks.append(
            Task(
                name=wanted.name,
                fingerprint=fingerprint(parameters, digests, data or {}, content.sha256 if content else None),
                sources=wanted.sources,
                content=content,
                parameters=parameters,
            )
        )
    return tasks


def check_names(draft: Draft, sources: Sources) -> None:
    """Adds a problem for every two tasks of one name (case set aside, as on macOS and Windows), and for too many."""
    manifest = draft.manifest
    if manifest is None or manifest.combinations * max(1, len(manifest.textures)) > MAX_TASKS:
        return  # the reader has said so
    count = sum(len(groups) for groups in sources) * manifest.combinations
    if count > MAX_TASKS:
        draft.problem(("textures",), f"{count:,} tasks: a manifest holds {MAX_TASKS:,} at most")
        return
    first: dict[str, _Wanted] = {}
    clashing: set[tuple[int, int]] = set()
    for one in _wanted(manifest, sources):
        if one.texture.name == "":
            continue  # refused: what it will be called is not known
        before = first.setdefault(one.name.lower(), one)
        pair = (before.texture.index, one.texture.index)
        if before is not one and pair not in clashing:
            clashing.add(pair)
            key = "source" if one.texture.name is None else "name"
            draft.problem(("textures", one.texture.index, key), _clash(draft, before, one))


def check_scales(draft: Draft, sources: Sources) -> None:
    """Adds a problem for every `source_width` that makes a source too low or too large for the engine."""
    manifest = draft.manifest
    if manifest is None or sum(len(groups) for groups in sources) * manifest.combinations > MAX_TASKS:
        return  # of too many tasks, the reader has said so
    said: set[tuple[str | int, ...]] = set()
    for one in _wanted(manifest, sources):
        parameters = _parameters(manifest, one)
        asked = parameters["source_width"]
        if asked is not None and parameters["source_scale"] is not None:
            place = _place_of_parameter(manifest, one, "source_scale")
            if place not in said:
                said.add(place)
                draft.problem(place, "source_width is given, too: give one of them")
            continue
        if asked is None:
            continue
        first = one.sources[0]
        height = round(first.height * asked / first.width)
        if height >= MIN_SIDE and asked * height <= MAX_SIDE**2:
            continue
        place = _place_of_parameter(manifest, one, "source_width")
        if place not in said:
            said.add(place)
            size = f"{shown(PurePath(first.path).name)}, {first.width}x{first.height},"
            limits = f"{MIN_SIDE} to {MAX_SIDE**2 // asked:,}"
            draft.problem(place, f"{asked} makes {size} {height:,} pixels high: {limits} go with it")


def check_contents(draft: Draft, sources: Sources) -> None:
    """Adds a problem for every texture that is to paint a picture and names none, or names one and paints nothing."""
    manifest = draft.manifest
    if manifest is None or sum(len(groups) for groups in sources) * manifest.combinations > MAX_TASKS:
        return  # of too many tasks, the reader has said so
    painted: dict[int, bool] = {}
    for one in _wanted(manifest, sources):
        style = _parameters(manifest, one)["method"] == STYLE
        index = one.texture.index
        if style and one.texture.content is None and not painted.get(index):
            draft.problem(
                _place_of_parameter(manifest, one, "method"),
                f"style needs a picture to paint: add content: PICTURE to textures[{index}]",
            )
        painted[index] = painted.get(index, False) or style
    for index, any_style in painted.items():
        if manifest.textures[index].content and not any_style:
            draft.problem(("textures", index, "content"), "is for the method style: add method: style")


def _place_of_parameter(manifest: Manifest, one: _Wanted, name: str) -> tuple[str | int, ...]:
    """Where the value of a parameter that counts stands in the file."""
    if name in one.chosen:
        return ("matrix", name, manifest.matrix[name].index(one.chosen[name]))
    return ("textures", one.texture.index, name) if name in one.texture.parameters else ("defaults", name)


def fingerprint(
    parameters: Mapping[str, Any], sources: Sequence[str], data: Mapping[str, str], content: str | None = None
) -> str:
    """What a texture is, 64 hexadecimal digits: engine, complete parameters, its sources' SHA-256 in their order, that
    of the picture it paints, and the digest of the files at each mount, among which network weights may be.

    Name, machine and money are not in it: the same wish elsewhere has the same outcome. Without data there are no
    weights, and `auto` is another word for `patch`, which looks at no data.
    """
    method = "patch" if parameters["method"] == "auto" and not data else parameters["method"]
    counted = {name: value for name, value in parameters.items() if method in ONLY_FOR.get(name, {method})}
    wish: dict[str, Any] = {"engine": ENGINE, "parameters": {**counted, "method": method}, "sources": list(sources)}
    if content is not None:
        wish["content"] = content
    if data and method != "patch":
        wish["data"] = dict(data)
    return _digest(wish)


def command_fingerprint(command: str, code: str | None, data: Mapping[str, str], image: str | None = None) -> str:
    """What a command's task is: the filled command, the digest of its code, of the files at each mount, and the image
    that its manifest names, if it does."""
    named = {"image": image} if image is not None else {}
    return _digest({"command": command, "code": code, "data": dict(data), **named})


def pack(tasks: Sequence[Task], per_job: int | None) -> list[tuple[Task, ...]]:
    """Tasks in jobs, order kept: `per_job` in each, or for None spread evenly over the fewest jobs of at most 16.

    A command's task has a job of its own, whatever `per_job` says.
    """
    if any(task.command is not None for task in tasks):
        return [(task,) for task in tasks]
    if per_job is not None:
        return [tuple(tasks[start : start + per_job]) for start in range(0, len(tasks), per_job)]
    jobs = -(-len(tasks) // AUTO_TASKS_PER_JOB)
    bounds = [len(tasks) * job // jobs for job in range(jobs + 1)] if jobs else []
    return [tuple(tasks[start:end]) for start, end in itertools.pairwise(bounds)]


def slug(text: str) -> str:
    """Text as part of a name: accents dropped, anything but letters, digits, `.` and `_` a dash."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub("[^A-Za-z0-9._]+", "-", plain).strip("-.")


def _wanted(manifest: Manifest, sources: Sources) -> Iterator[_Wanted]:
    suffixed = list(_combinations(manifest))
    for texture, groups in zip(manifest.textures, sources, strict=True):
        for group in groups:
            base = texture.name or _base(group[0])
            for suffix, chosen in suffixed:
                yield _Wanted(_shortened(base + suffix), texture, group, chosen)


def _commands(
    manifest: Manifest, command: str, code: str | None, data: Mapping[str, str], image: str | None
) -> list[Task]:
    tasks = []
    for suffix, chosen in _combinations(manifest):
        filled = commands.fill(command, chosen)
        tasks.append(
            Task(
                name=_shortened(manifest.name + suffix),
                fingerprint=command_fingerprint(filled, code, data, image),
                parameters=chosen,
                command=filled,
            )
        )
    return tasks


def _combinations(manifest: Manifest) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each combination of the matrix, with what it adds to a name: `-seed1-size128x128`. Suffixes are distinct even
    where case is set aside; those that would not be (of values like `a b` and `a-b`) are numbered."""
    taken: set[str] = set()
    numbers: dict[str, Iterator[int]] = {}
    for values in itertools.product(*manifest.matrix.values()):
        chosen = dict(zip(manifest.matrix, values, strict=True))
        suffix = plain = "".join(f"-{key}{_label(value)}" for key, value in chosen.items())
        while suffix.lower() in taken:
            suffix = f"{plain}.{next(numbers.setdefault(plain.lower(), itertools.count(2)))}"
        taken.add(suffix.lower())
        yield suffix, chosen


def _label(value: Any) -> str:
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    if isinstance(value, str):
        sign = "-" if value.startswith("-") else ""
        return sign + slug(value)
    return "null" if value is None else str(value)


def _base(source: Source) -> str:
    """A name from a source's file; from its content where the file's name holds no letter we can use."""
    stem = slug(PurePath(source.path).stem).lower().lstrip("._")[:40].rstrip("-.")
    if not stem:
        return f"texture-{source.sha256[:8]}"
    return stem if project.check_name(stem) is None else f"texture-{stem}"


def _shortened(name: str) -> str:
    """A name that is too long loses its end to a digest of the whole, and stays distinct."""
    if len(name) <= contract.MAX_NAME:
        return name
    return f"{name[: contract.MAX_NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _parameters(manifest: Manifest, one: _Wanted) -> dict[str, Any]:
    return complete(manifest.defaults | one.texture.parameters | sides(one.chosen))


def _clash(draft: Draft, before: _Wanted, one: _Wanted) -> str:
    if before.texture.index == one.texture.index:
        files = " and ".join(quoted(wanted.sources[0].path) for wanted in (before, one))
        return f"{files} both make the texture {shown(one.name)}: rename a file, or give each an entry with a name"
    line = draft.at("textures", before.texture.index)[0]
    other = f"textures[{before.texture.index}] on line {line}"
    return f"makes the texture {shown(one.name)}, as does {other}: give one of them another name"


def _digest(value: dict[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
