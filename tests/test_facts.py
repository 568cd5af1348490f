"""Facts are the same wherever the store is, and cost few round trips where it is far."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from orchestrator import aws, contract, engine, facts, journal
from orchestrator.backends.base import Backend, Presence, Sight
from orchestrator.engine import Choice, Verdict
from orchestrator.errors import CloudError, NotFound, StoreError, SwatchError
from orchestrator.job import Final, Job, Task
from orchestrator.simulator.front import Rule
from orchestrator.store import Store, open_store
from orchestrator.store.kept import IDENTITY, KeptStore
from orchestrator.swatch import Swatch
from orchestrator.watch import Watch
from tests.cloud import Cloud

JOBS = 12


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A project of twelve jobs; every third has ended, each has made one file."""
    if request.param == "local":
        store = open_store(str(tmp_path / "store"))
    else:
        bucket: str = request.getfixturevalue("bucket")
        store = open_store(f"s3://{bucket}/store")
    for number in range(1, JOBS + 1):
        task = Task(name=f"t{number}", fingerprint=f"{number:064d}", parameters={})
        job = Job(project="p", number=number, user="alice", created=1e9 + number, command="x", tasks=(task,))
        store.write(contract.job_key("p", number), msgspec.json.encode(job))
        writer = journal.Writer(store, "p", number)
        writer.append(journal.State(1e9, contract.RUNNING, 1))
        writer.flush()
        path = f"{task.prefix}made.txt"
        (tmp_path / "made").write_text(f"by {number}")
        store.upload(tmp_path / "made", contract.output_prefix("p", number) + path)
        digest = store.download(contract.output_prefix("p", number) + path, tmp_path / "made")
        writer.append(journal.File(1e9 + 1, path, len(f"by {number}"), digest))
        writer.flush()
        if number % 3 == 0:
            final = Final(
                state=contract.SUCCESS, ended=2e9, started=1e9, seconds=5.0, tasks={task.name: contract.SUCCESS}
            )
            store.write(contract.final_key("p", number), msgspec.json.encode(final))
    return store


class Present(Backend):
    """All that has not ended runs."""

    name = "local"

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.settling: list[list[int]] = []

    def launch(self, jobs: Sequence[Job]) -> None:
        raise AssertionError("nothing is to be launched")

    def look(self, jobs: Sequence[Job]) -> list[Sight]:
        self.asked.append([job.number for job in jobs])
        return [Sight(Presence.RUNNING)] * len(jobs)

    def wake(self) -> None:
        return

    def stop(self, jobs: Sequence[Job]) -> None:
        raise AssertionError("nothing is to be stopped")

    def settle(self, jobs: Sequence[Job]) -> None:
        self.settling.append([job.number for job in jobs])


def test_all_jobs_are_seen_in_their_order(store: Store) -> None:
    seen = list(facts.see_all(store, Present(), "p"))
    assert [one.job.number for one in seen] == list(range(1, JOBS + 1))
    assert [one.job.number for one in facts.see_all(store, Present(), "p", after=9)] == [10, 11, 12]
    assert [one.state for one in seen[:3]] == [contract.RUNNING, contract.RUNNING, contract.SUCCESS]
    assert [job.number for job in facts.read_jobs(store, "p", [5, 2])] == [5, 2]
    with pytest.raises(NotFound, match="No job p/99"):
        facts.read_jobs(store, "p", [1, 99])


def test_a_job_that_is_deleted_while_one_looks_is_left_out(store: Store) -> None:
    read = store.read

    def late(key: str) -> bytes:
        if key == contract.job_key("p", 5) and not store.exists(contract.deleted_key("p", 5)):
            engine.delete(store, facts.read_jobs(other, "p", [5])[0])
        return read(key)

    other = open_store(store.url)
    store.read = late  # type: ignore[method-assign]  # another computer, between the listing and the reading
    assert [one.job.number for one in facts.see_all(store, Present(), "p")] == [1, 2, 3, 4, *range(6, JOBS + 1)]
    with pytest.raises(NotFound, match="No job p/5"):
        facts.see(store, Present(), "p", 5)


def test_a_deletion_that_was_cut_short_can_be_repeated(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of its writes was the last, the job is listed no more, and all that is left of it still goes."""
    (job,) = facts.read_jobs(store, "p", [3])
    for last in range(100):
        left = [last]

        def counted(name: str, left: list[int] = left) -> Callable[..., object]:
            function = getattr(type(store), name)

            def call(*words: object) -> object:
                if not left[0]:
                    raise StoreError("cut short")
                left[0] -= 1
                return function(store, *words)

            return call

        with monkeypatch.context() as patch:
            for name in ("create", "write", "remove"):
                patch.setattr(store, name, counted(name))
            try:
                engine.delete(store, job)
            except StoreError:
                assert last == 0 or 3 not in facts.numbers(store, "p")
                try:
                    seen = facts.see(store, Present(), "p", 3)
                except NotFound:
                    continue  # what is left is its record, emptied, and its end
                assert seen.final is not None, "it has ended, or it could not be deleted again"
                continue
        break
    assert [entry.key for entry in store.scan(contract.job_prefix("p", 3))] == [contract.job_key("p", 3)]
    assert last > 3


def test_a_damaged_result_keeps_no_job_from_being_deleted(store: Store) -> None:
    (job,) = facts.read_jobs(store, "p", [3])
    store.write(contract.result_key(job.tasks[0].fingerprint), b"{")
    engine.delete(store, job)
    assert 3 not in facts.numbers(store, "p") and not store.exists(contract.result_key(job.tasks[0].fingerprint))


def test_a_job_whose_bill_is_outstanding_is_not_deleted(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWATCH_HOME", str(tmp_path / "home"))
    swatch, machines = Swatch(store.url), Present()
    swatch.__dict__["machines"] = machines
    monkeypatch.setattr(Present, "settled", lambda self, jobs: False)
    with pytest.raises(SwatchError, match="p/3 has ended and is not billed yet"):
        swatch.delete("p/3")
    assert 3 in facts.numbers(store, "p")
    monkeypatch.setattr(Present, "settled", lambda self, jobs: True)
    machines.settling.clear()
    with pytest.raises(SwatchError, match="cannot be deleted"):
        swatch.delete("p/4")
    swatch.delete("p/3")
    assert machines.settling[-1] == [3] and 3 not in facts.numbers(store, "p")


def test_what_another_computer_deleted_is_not_kept(store: Store, tmp_path: Path) -> None:
    here = KeptStore(store, tmp_path / "kept")
    store.create(IDENTITY, b'{"schema": 1, "id": "%s"}' % (b"a" * 32))
    facts.see_all(here, Present(), "p")
    engine.delete(store, facts.read_jobs(store, "p", [3])[0])
    assert 3 not in facts.numbers(here, "p")
    with pytest.raises(NotFound, match="No job p/3"):
        facts.see(here, Present(), "p", 3)
    assert facts.see(here, Present(), "p", 6).final is not None


def test_a_backend_is_asked_once_about_all_that_have_not_ended(store: Store) -> None:
    backend = Present()
    facts.see_all(store, backend, "p")
    assert backend.asked == [[1, 2, 4, 5, 7, 8, 10, 11]] and backend.settling == [[3, 6, 9, 12]]


def test_a_watch_brings_home_what_all_jobs_made(store: Store, tmp_path: Path) -> None:
    jobs = facts.read_jobs(store, "p", range(1, JOBS + 1))
    watch = Watch(store, Present(), [Choice(job.tasks[0], Verdict.RUNNING, job) for job in jobs], tmp_path / "home")
    assert watch.poll() is True
    assert sorted(path.read_text() for path in watch.brought) == sorted(f"by {n}" for n in range(1, JOBS + 1))
    assert [view.files for view in watch.tasks] == [[f"t{n}/made.txt"] for n in range(1, JOBS + 1)]
    assert not watch.over
    assert [view.task.name for view in watch.tasks if view.ended] == ["t3", "t6", "t9", "t12"]
    assert watch.poll() is False
    assert len(watch.brought) == JOBS


def test_a_watch_goes_on_after_the_store_was_away(cloud: Cloud, bucket: str, tmp_path: Path) -> None:
    """A file that could not come home is told, and comes with the next poll, though its job has ended meanwhile."""
    store = open_store(f"s3://{bucket}/store")
    task = Task(name="t", fingerprint="f" * 64, parameters={})
    other = Task(name="u", fingerprint="e" * 64, parameters={})
    for number, one in enumerate((task, other), 1):
        job = Job(project="p", number=number, user="alice", created=time.time(), command="x", tasks=(one,))
        store.write(contract.job_key("p", number), msgspec.json.encode(job))
    (tmp_path / "made").write_text("made")
    key = contract.output_prefix("p", 1) + "t/made.txt"
    store.upload(tmp_path / "made", key)
    writer = journal.Writer(store, "p", 1)
    writer.append(journal.File(1e9, "t/made.txt", 4, store.download(key, tmp_path / "made")))
    writer.flush()
    final = Final(state=contract.SUCCESS, ended=2e9, started=1e9, seconds=5.0, tasks={"t": contract.SUCCESS})
    store.write(contract.final_key("p", 1), msgspec.json.encode(final))
    jobs = facts.read_jobs(store, "p", [1, 2])
    watch = Watch(store, Present(), [Choice(job.tasks[0], Verdict.RUNNING, job) for job in jobs], tmp_path / "home")
    store.write(key, b"torn")
    watch.poll()
    assert "t/made.txt" in watch.home.problems
    store.write(key, b"made")
    watch.poll()
    assert not watch.home.problems
    assert (tmp_path / "home" / "t" / "made.txt").read_text() == "made"


def test_a_store_that_cannot_be_reached_is_no_job(
    cloud: Cloud, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    aws.forget()
    store = open_store(f"s3://{bucket}/store")
    store.write(contract.job_key("p", 1), b"{}")
    cloud.front.set([Rule("throttle", times=None)])
    with pytest.raises(CloudError):
        list(facts.see_all(store, Present(), "p"))
