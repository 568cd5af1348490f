"""Submitting survives death at every step: whatever a first submission got done, the next one completes it."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator import contract, engine, facts, plan
from orchestrator.backends.base import Backend, Presence, Sight
from orchestrator.engine import Wish
from orchestrator.errors import SwatchError
from orchestrator.job import Job, Source, Task
from orchestrator.store.base import Tell, nothing
from orchestrator.store.local import LocalStore
from tests.conftest import Box


class Death(BaseException):
    """As kill -9: nothing that the program could handle."""


class DyingStore(LocalStore):
    """A store whose user dies at the nth write, before or after it took effect."""

    def __init__(self, root: str, steps: int, after: bool) -> None:
        super().__init__(root)
        self.left, self.after = steps, after

    def write(self, key: str, data: bytes) -> None:
        self._step(False)
        super().write(key, data)
        self._step(True)

    def upload(self, file: Path, key: str, sha256: str = "", tell: Tell = nothing) -> None:
        self._step(False)
        super().upload(file, key, sha256, tell)
        self._step(True)

    def create(self, key: str, data: bytes) -> bool:
        self._step(False)
        made = super().create(key, data)
        self._step(True)
        return made

    def _step(self, after: bool) -> None:
        if after == self.after:
            self.left -= 1
            if self.left < 0:
                raise Death


class Machine(Backend):
    """A backend that remembers what was launched on it."""

    name = "local"

    def __init__(self) -> None:
        self.launched: list[int] = []

    def launch(self, jobs: Sequence[Job]) -> None:
        self.launched += [job.number for job in jobs if job.number not in self.launched]

    def look(self, jobs: Sequence[Job]) -> list[Sight]:
        return [Sight(Presence.RUNNING if job.number in self.launched else Presence.GONE) for job in jobs]

    def wake(self) -> None:
        return

    def stop(self, jobs: Sequence[Job]) -> None:
        return


@pytest.fixture
def wish(tmp_path: Path) -> Wish:
    """Five textures in jobs of two."""
    tasks = []
    for number in range(5):
        path = tmp_path / f"source{number}.png"
        path.write_bytes(b"source %d" % number)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        source = Source(path=str(path), sha256=digest, size=8, width=64, height=64)
        tasks.append(Task(name=f"t{number}", fingerprint=f"{number:064d}", sources=(source,), parameters={"seed": 1}))

    def job(number: int, some: tuple[Task, ...], cargo: str | None) -> Job:
        return Job(
            project="p", number=number, user="alice", created=1.0, command="x", tasks=some, code="c" * 64, input=cargo
        )

    return Wish("p", tasks, lambda some: plan.pack(some, 2), job)


def assert_all_is_well(store: LocalStore, machine: Machine, wish: Wish) -> None:
    """Every task is in exactly one job; every job is launched, with its input whole."""
    jobs = [facts.read_job(store, "p", number) for number in facts.numbers(store, "p")]
    held = [task.fingerprint for job in jobs for task in job.tasks]
    assert sorted(held) == sorted(task.fingerprint for task in wish.tasks)
    assert sorted(machine.launched) == [job.number for job in jobs] == list(range(1, len(jobs) + 1))
    for job in jobs:
        assert job.input is not None
        with tarfile.open(store.path(contract.code_key(job.input))) as packed:
            cargo = {name: member.read() for name in packed.getnames() if (member := packed.extractfile(name))}
        listed = json.loads(cargo["tasks.json"])["tasks"]
        assert [task["name"] for task in listed] == [task.name for task in job.tasks]
        for task, wanted in zip(listed, job.tasks, strict=True):
            (name,) = task["sources"]
            assert hashlib.sha256(cargo[name]).hexdigest() == wanted.sources[0].sha256
    assert store.exists("code/carried")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("steps", range(8))
def test_death_at_any_write_is_mended_by_the_next_submission(
    tmp_path: Path, wish: Wish, steps: int, after: bool
) -> None:
    root, machine = str(tmp_path / "store"), Machine()
    dying = DyingStore(root, steps, after)
    try:
        engine.submit(dying, machine, wish, lambda: dying.write("code/carried", b"code"))
        died = False
    except Death:
        died = True
    # One write for the code, and for each of three jobs its input and its record.
    assert died == (steps < 7)
    store = LocalStore(root)
    engine.submit(store, machine, wish, lambda: store.write("code/carried", b"code"))
    assert_all_is_well(store, machine, wish)
    again = engine.submit(store, machine, wish, lambda: pytest.fail("nothing is to be carried"))
    assert (again.started, again.resumed) == ([], [])


def test_another_submission_between_two_steps_is_seen(tmp_path: Path, wish: Wish) -> None:
    """While the first is about to take a number, a second submits all of it: the first adopts."""
    root, machine = str(tmp_path / "store"), Machine()
    other = LocalStore(root)

    class Overtaken(LocalStore):
        overtaken = False

        def create(self, key: str, data: bytes) -> bool:
            if not self.overtaken:
                self.overtaken = True
                engine.submit(other, machine, wish, lambda: other.write("code/carried", b"code"))
            return super().create(key, data)

    slow = Overtaken(root)
    done = engine.submit(slow, machine, wish, lambda: slow.write("code/carried", b"code"))
    assert done.started == []
    assert [choice.verdict for choice in done.choices] == [engine.Verdict.QUEUED] * 5
    assert_all_is_well(other, machine, wish)


def test_a_source_that_changed_meanwhile_is_not_sent(tmp_path: Path, wish: Wish) -> None:
    Path(wish.tasks[0].sources[0].path).write_bytes(b"edited")
    store = LocalStore(str(tmp_path / "store"))
    with pytest.raises(SwatchError, match="has changed meanwhile"):
        engine.submit(store, Machine(), wish, lambda: None)


def test_another_image_of_a_manifest_makes_its_commands_anew(box: Box) -> None:
    """What stands in the Dockerfile that it names counts; Swatch's own image and AWS' do not."""
    file = box.folder / "Dockerfile"
    file.write_text("FROM x:1\n")
    plain = "name: try\ncode: tool\ncommand: echo {a}\nmatrix: {a: [1]}\n"
    (box.folder / "tool").mkdir()
    (box.folder / "tool" / "t.py").write_text("\n")

    def counts(line: str = "") -> dict[str, int]:
        found: dict[str, int] = box.json("plan", box.manifest(plain + line))["counts"]
        return found

    box.swatch("submit", box.manifest(plain + "image: ./Dockerfile\n"), "--watch")
    assert counts("image: ./Dockerfile\n") == {"cached": 1}
    file.write_text("FROM x:2\n")
    assert counts("image: ./Dockerfile\n") == {"new": 1}
    file.write_text("FROM x:1\n")
    assert counts("image: ./Dockerfile\n") == {"cached": 1}
    assert counts("image: x:1\n") == {"new": 1}
    box.swatch("submit", box.manifest(plain), "--watch")
    assert counts() == counts("image: swatch\n") == counts("image: aws\n") == {"cached": 1}
