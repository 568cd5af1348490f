"""What goes into Swatch's image, and the name that follows from it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import contract, facts
from orchestrator.cargo import image
from orchestrator.cargo.image import Context
from orchestrator.docker import Facts
from orchestrator.job import Final, Job
from orchestrator.store.local import LocalStore
from tests.conftest import REPOSITORY

FILES = st.dictionaries(st.text("abc/._-", min_size=1, max_size=8), st.binary(max_size=20), max_size=4)


def test_all_that_a_build_needs_is_in_it() -> None:
    found = image.context()
    assert found.base == image.BASE
    assert {
        "Dockerfile",
        "requirements.txt",
        "root/opt/swatch/agent.pyz",
        "root/opt/swatch/engine/synthesize.py",
    } <= set(found.files)
    assert f"ARG BASE={image.BASE}" in found.files["Dockerfile"].decode()
    assert found == image.context()


@given(FILES, FILES, st.sampled_from(["a:1", "b:1"]), st.sampled_from(["a:1", "b:1"]))
def test_the_tag_is_of_all_that_goes_in_and_of_nothing_else(
    one: dict[str, bytes], two: dict[str, bytes], base: str, other: str
) -> None:
    same = (one, base) == (two, other)
    assert (Context(base, one).digest == Context(other, two).digest) == same
    assert Context(base, one).digest == Context(base, dict(reversed(one.items()))).digest


@given(FILES)
def test_the_packed_context_is_the_same_bytes_each_time(files: dict[str, bytes]) -> None:
    packed = Context("a:1", files).packed()
    assert packed == Context("a:1", dict(reversed(files.items()))).packed()
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert {entry.mtime for entry in archive} <= {0}


def test_the_images_lock_is_of_the_versions_of_the_lock_at_the_top() -> None:
    def versions(file: Path) -> set[str]:
        lines = [line.rstrip(" \\") for line in file.read_text().splitlines()]
        return {line for line in lines if "==" in line and not line.startswith((" ", "#", "    --hash"))}

    inner, outer = versions(REPOSITORY / "job_image/requirements.txt"), versions(REPOSITORY / "requirements.txt")
    pinned = {line.partition(" ")[0] for line in outer}
    assert len(inner) > 10
    assert {line.partition(" ")[0] for line in inner} <= pinned, "make lock"


def test_what_nobody_needs_is_stale() -> None:
    def facts_of(*tags: str) -> Facts:
        return Facts("sha256:" + "0" * 64, "amd64", 1, 0.0, tags, (), {}, ())

    kept, stale, nameless = facts_of("swatch:a", "mine:1"), facts_of("swatch:b"), facts_of()
    assert image.stale([kept, stale, nameless], {"swatch:a"}) == [stale, nameless]


def test_an_image_that_a_person_has_named_is_not_swatchs_to_remove() -> None:
    """The label is handed down to all that builds on an image of Swatch's, by whoever."""

    def facts_of(*tags: str) -> Facts:
        return Facts("sha256:" + "0" * 64, "amd64", 1, 0.0, tags, (), {}, ())

    theirs, named, elsewhere = facts_of("mine:1"), facts_of("swatch:b", "mine:2"), facts_of("x.example/swatch:b")
    assert image.stale([theirs, named, elsewhere], set()) == []
    on_its_way = facts_of("swatch:b", "123456789012.dkr.ecr.us-east-1.amazonaws.com/swatch:" + "b" * 24)
    assert image.stale([on_its_way], set()) == [on_its_way]


def test_an_image_is_needed_while_its_job_has_not_ended(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path))
    for number, name in enumerate(["swatch:a", "swatch:b", None], 1):
        job = Job(project="p", number=number, user="alice", created=1.0, command="true", image=name)
        store.create(contract.job_key("p", number), msgspec.json.encode(job))
    store.create(contract.final_key("p", 2), msgspec.json.encode(Final(state="success", ended=2.0)))
    assert facts.images(store) == {"swatch:a"}
