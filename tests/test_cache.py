"""What is kept on this computer for later jobs is bounded, and nothing goes that a job may use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from job_image import packages, places
from orchestrator.backends import cache
from orchestrator.backends.local import Layout
from orchestrator.store.local import make_read_only

DAY = 86_400.0
NOW = 100 * DAY
SIZE = 1 << 16


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """It was looked at long ago; four entries of 64 KiB, the older the further from the top."""
    made = Layout(tmp_path)
    made.make()
    made.cache_lock.touch()
    os.utime(made.cache_lock, (0, 0))
    for days, name in enumerate(("data/a", "envs/b", "containers/envs/c", "data/.d.part"), 1):
        folder = made.cache / name
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "file").write_bytes(os.urandom(SIZE))
        make_read_only(folder)
        os.utime(folder, (NOW - 10 * days * DAY,) * 2)
    return made


def left(layout: Layout) -> set[str]:
    return {str(path.relative_to(layout.cache)) for kind in cache.KINDS for path in (layout.cache / kind).iterdir()}


def test_what_was_not_used_for_longest_goes_and_no_more_than_that(layout: Layout) -> None:
    assert cache.trim(layout, 4 * SIZE, NOW) == [], "all of it fits"
    gone = cache.trim(layout, 2 * SIZE, NOW + 2 * DAY)
    assert gone == [layout.cache / "data/.d.part", layout.cache / "containers/envs/c"]
    assert left(layout) == {"data/a", "envs/b"}
    assert cache.trim(layout, 0, NOW + 2.5 * DAY) == [], "it was looked at within a day"
    assert len(cache.trim(layout, 0, NOW + 4 * DAY)) == 2


def test_what_was_used_within_a_week_stays_whatever_it_takes(layout: Layout) -> None:
    os.utime(layout.cache / "envs/b", (NOW - 6 * DAY,) * 2)
    cache.trim(layout, 0, NOW)
    assert left(layout) == {"envs/b"}


def test_what_a_killed_removal_has_left_goes_the_next_time(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(shutil, "rmtree", lambda folder: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cache.trim(layout, 0, NOW)
    assert "data/.d.part" not in left(layout), "nobody takes half of it for the whole"
    cache.trim(layout, 1 << 40, NOW)
    assert left(layout) == {"data/a", "envs/b", "containers/envs/c"}


def test_while_any_process_of_a_job_lives_nothing_goes(layout: Layout) -> None:
    """Its runner may have been killed: what it has started holds on."""
    with cache.in_use(layout) as using, cache.in_use(layout):
        job = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[using])
    assert cache.trim(layout, 0, NOW) == []
    job.communicate()
    assert len(cache.trim(layout, 0, NOW)) == 4


def test_packages_that_are_used_again_count_as_used(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("greeting\n")
    jobs = packages.Jobs(lambda *_: pytest.fail("they are there"), lambda _: None, lambda: False)
    folder = tmp_path / "envs" / packages.digest(tmp_path, "requirements.txt")
    folder.mkdir(parents=True)
    (folder / packages.COMPLETE).touch()
    os.utime(folder, (0, 0))
    assert packages.install("requirements.txt", tmp_path, tmp_path / "envs", None, True, jobs) == folder
    assert folder.stat().st_mtime > 0
    places.remove(folder)


def test_a_runner_looks_when_its_jobs_have_ended(layout: Layout) -> None:
    words = [sys.executable, "-m", "orchestrator.backends.runner", "--home", str(layout.home), "--slots", "1"]
    subprocess.run(words, check=True, timeout=60)
    assert layout.cache_lock.stat().st_mtime > 0
    assert len(left(layout)) == 4, "far from the limit"
