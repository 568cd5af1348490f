"""What a job uses of its machine, an idle GPU (S11), and what is said of one that ran out of memory (S9)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_image import gauges
from job_image.ending import Memory, failure
from job_image.gauges import Gauges, Idle
from orchestrator import journal
from orchestrator.journal import Fold, Log, System, Writer
from orchestrator.store.local import LocalStore
from tests.conftest import Box
from tests.one_job import Bench
from tests.test_surroundings import both

GB = 10**9


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V1 = {
    "proc/self/cgroup": "9:name=systemd:/\n4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n0::/\n",
    "proc/meminfo": "MemTotal:       16000000 kB\nMemFree: 1 kB\n",
    "proc/vmstat": "pgfault 7\noom_kill 3\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    "sys/fs/cgroup/memory/docker/memory.limit_in_bytes": "8000000000\n",
    "sys/fs/cgroup/memory/docker/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "sys/fs/cgroup/memory/docker/memory.max_usage_in_bytes": "7900000000\n",
    "sys/fs/cgroup/cpu/docker/cpu.cfs_quota_us": "50000\n",
    "sys/fs/cgroup/cpu/docker/cpu.cfs_period_us": "100000\n",
}
V2 = {
    "proc/self/cgroup": "0::/job.slice/one\n",
    "proc/meminfo": "MemTotal:       16000000 kB\n",
    "sys/fs/cgroup/job.slice/memory.max": "max\n",
    "sys/fs/cgroup/job.slice/one/memory.max": "8000000000\n",
    "sys/fs/cgroup/job.slice/one/memory.events": "low 0\noom 5\noom_kill 2\noom_group_kill 0\n",
    "sys/fs/cgroup/job.slice/one/memory.peak": "7900000000\n",
    "sys/fs/cgroup/job.slice/one/cpu.max": "50000 100000\n",
}


@pytest.mark.parametrize("files", [V1, V2], ids=["v1", "v2"])
def test_limits_and_kills_of_both_kinds_of_control_groups(tmp_path: Path, files: dict[str, str]) -> None:
    root = tree(tmp_path, files)
    assert gauges.memory_limit(root) == 8 * GB
    assert gauges.kills(root) == 2
    assert gauges.group_peak(root) == 7_900_000_000
    assert gauges.processors(root) == 0.5


def test_without_a_control_group_the_machine_counts_and_without_proc_nothing_is_known(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/meminfo": "MemTotal: 1000 kB\n", "proc/vmstat": "oom_kill 4\n"})
    assert (gauges.memory_limit(root), gauges.kills(root), gauges.machine_kills(root)) == (1024000, 0, 4)
    empty = tmp_path / "empty"
    assert (gauges.memory_limit(empty), gauges.kills(empty), gauges.machine_kills(empty)) == (None, 0, 0)
    assert gauges.usage(1, empty) is None


@pytest.mark.parametrize(
    ("code", "memory", "reason"),
    [
        (-9, Memory(7_900_000_000, 8 * GB, 1), "killed: out of memory (peak 7.9 of 8.0 GB)"),
        (137, Memory(7_900_000_000, 8 * GB, 0, 1), "killed: out of memory (peak 7.9 of 8.0 GB)"),
        (137, Memory(7_900_000_000, 8 * GB), "killed: out of memory (peak 7.9 of 8.0 GB)"),
        (1, Memory(7_900_000_000, 8 * GB, 1), "killed: out of memory (peak 7.9 of 8.0 GB)"),
        (-9, Memory(None, None, 1), "killed: out of memory"),
        (-9, Memory(GB, 8 * GB), "killed by SIGKILL"),
        (137, Memory(GB, 8 * GB), "killed by SIGKILL"),
        (1, Memory(7_900_000_000, 8 * GB, 0, 1), "exit code 1"),
        (-15, Memory(), "killed by SIGTERM"),
    ],
)
def test_s9_why_a_command_was_killed(code: int, memory: Memory, reason: str) -> None:
    assert failure(code, [], memory, True) == reason
    assert failure(code, ["last words", " "], memory, True) == f"{reason}: last words"


@both
def test_s9_a_command_that_is_killed_says_by_what(box: Box, wrapped: str) -> None:
    box.environment["SWATCH_BWRAP"] = wrapped
    box.swatch("submit", box.manifest("name: try\ncommand: echo on my way; kill -9 $$\n"), "--watch", code=1)
    final = box.json("info", "try/1")["final"]
    assert (final["exit_code"], final["reason"]) == (-signal.SIGKILL, "killed by SIGKILL: on my way")


@pytest.fixture
def small() -> Iterator[Path]:
    """A control group of 100 MB."""
    group = Path(f"/sys/fs/cgroup/memory/swatch-test-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(100 << 20))
    except OSError:
        pytest.skip("needs the right to make a control group (version 1, root)")
    yield group
    group.rmdir()


def test_s9_a_job_that_runs_out_of_memory_says_so(tmp_path: Path, small: Path) -> None:
    """For real: the kernel kills it."""
    bench = Bench(tmp_path)
    bench.under = ["sh", "-c", f'echo $$ > {small}/cgroup.procs && exec "$@"', "sh"]
    final = bench.run(f"echo begun; {sys.executable} -c 'x = bytearray(400 << 20)'; exit $?")
    assert final["reason"] == "killed: out of memory (peak 0.1 of 0.1 GB): Killed"


def test_s9_the_last_lines_are_at_hand(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.run("seq 1000; exit 3")
    assert journal.tail(bench.store, "p", 1) == [str(number) for number in range(981, 1001)]
    assert journal.tail(bench.store, "p", 1, 3) == ["998", "999", "1000"]
    bench.run("echo only; exit 3")
    assert journal.tail(bench.store, "p", 2) == ["only"]
    assert journal.tail(bench.store, "p", 3) == []


# Samples


def burning(words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", words], start_new_session=True, stdout=subprocess.PIPE)


def test_a_group_is_measured_with_all_that_it_has_started() -> None:
    child = "x = bytearray(64 << 20); print(flush=True)\nwhile True: pass"
    process = burning(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])")
    try:
        assert process.stdout is not None
        process.stdout.readline()
        first = gauges.usage(process.pid)
        assert first is not None and first.memory > 64 << 20
        while (now := gauges.usage(process.pid)) is not None and now.seconds <= first.seconds:
            pass
        assert now is not None
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    left = gauges.usage(process.pid)
    assert left is not None and left.memory == 0


@pytest.fixture
def meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Gauges, LocalStore, list[str]]]:
    """Gauges of a process that burns, whose thread stands still: a test is its clock; and what nvidia-smi says."""
    monkeypatch.setattr(gauges, "EVERY", 10_000.0)
    said: list[str] = ["7, 2000, 16000"]
    monkeypatch.setattr(gauges, "graphics", lambda: lambda: gauges.shares(said[0]))
    store = LocalStore(str(tmp_path / "store"))
    process = burning("print(flush=True)\nwhile True: pass")
    assert process.stdout is not None
    process.stdout.readline()
    found = Gauges(Writer(store, "p", 1), tmp_path)
    found.watch(process.pid)
    yield found, store, said
    found.close()
    found.join()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def events(meter: Gauges, store: LocalStore) -> list[journal.Event]:
    meter._writer.flush()
    return [event for chunk in journal.read(store, "p", 1) for event in chunk.events]


def test_a_sample_tells_shares_of_what_the_job_has(meter: tuple[Gauges, LocalStore, list[str]]) -> None:
    found, store, _ = meter
    assert found._before is not None
    began, used = found._before
    while (now := gauges.usage(found._group)) is not None and now.seconds < used.seconds + 0.1:
        pass
    found.take(1000.0, began + 1.0)
    (sample,) = events(found, store)
    assert isinstance(sample, System)
    assert sample.cpu is not None and 0 < sample.cpu <= 100
    assert sample.memory is not None and sample.used is not None and 0 <= sample.memory < 100 and sample.used > 1 << 20
    assert sample.disk is not None and 0 <= sample.disk <= 100
    assert (sample.gpu, sample.gpu_memory, sample.time) == (7.0, 12.5, 1000.0)
    fold = Fold()
    fold.add(sample)
    fold.add(System(1010.0, used=1))
    assert (fold.peak_memory, fold.system) == (sample.used, System(1010.0, used=1))


def test_s11_an_idle_gpu_is_said_once_and_again_after_it_was_busy(meter: tuple[Gauges, LocalStore, list[str]]) -> None:
    found, store, said = meter
    at = 0.0

    def minutes(count: float, gpu: str) -> None:
        nonlocal at
        said[0] = f"{gpu}, 1, 2"
        for _ in range(int(count * 6)):
            at += 10.0
            found.take(at, at)

    def notes() -> int:
        return sum(
            isinstance(one, Log) and one.note and "idle for 15 minutes" in one.text for one in events(found, store)
        )

    minutes(14.9, "0")
    assert notes() == 0
    minutes(30, "4")
    assert notes() == 1
    minutes(1, "5")
    minutes(14.9, "[N/A]")
    minutes(14.9, "0")
    assert notes() == 1
    minutes(0.5, "0")
    assert notes() == 2


def test_of_several_gpus_the_mean_counts_and_what_is_not_known_is_none() -> None:
    assert gauges.shares("0, 0, 16000\n100, 16000, 16000\n") == (50.0, 50.0)
    assert gauges.shares("[N/A], 3, 16\n") == (None, 18.8)
    assert gauges.shares("No devices were found\n") == (None, None)
    assert gauges.shares("[Not Supported], [N/A], [N/A]") == (None, None)


@given(st.text(alphabet="0123456789.,- \n[]N/Aeinf\u0662"))
def test_whatever_nvidia_smi_says_shares_are_shares(said: str) -> None:
    assert all(share is None or 0 <= share <= 100 for share in gauges.shares(said))


@given(st.lists(st.one_of(st.none(), st.floats(0, 100))))
def test_idleness_is_never_said_twice_without_work_between(samples: list[float | None]) -> None:
    idle, busy = Idle(), True
    for at, share in enumerate(samples):
        if idle.take(at * 100.0, share):
            assert busy
            busy = False
        busy = busy or (share is not None and share >= gauges.IDLE_SHARE)


def program(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "nvidia-smi").chmod(0o755)


def test_nvidia_smi_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = "--query-gpu=utilization.gpu,memory.used,memory.total --format=csv,noheader,nounits"
    program(tmp_path / "bin", f'test "$*" = "{wanted}" && echo "93, 4000, 16000"')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert gauges.graphics()() == (93.0, 25.0)


def test_an_nvidia_smi_that_hangs_or_fails_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "gate")
    program(tmp_path / "bin", f"echo >> {tmp_path}/asked; exec cat {tmp_path}/gate")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(gauges, "GPU_SECONDS", 0.2)
    ask = gauges.graphics()
    assert {ask() for _ in range(5)} == {(None, None)}
    assert (tmp_path / "asked").read_text().count("\n") <= gauges.GPU_TRIES


def test_a_machine_without_a_gpu_knows_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gauges.graphics()() == (None, None)
