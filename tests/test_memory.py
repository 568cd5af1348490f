"""What memory is left, and what becomes of a picture that does not fit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from job_image.texture import backend, memory
from job_image.texture.backend import Tensor, to_numpy
from job_image.texture.network import Network
from job_image.texture.objective import LEAST_TILE, Objective
from job_image.texture.statistics import GramDistance, Place, View, target
from job_image.texture.vgg import Layer, layer
from tests.test_gram import apart, picture
from tests.vgg import random_weights

KERNELS = random_weights(deepest="conv1_2")
VIEW = View((Place(0, layer("pool1")), Place(1, layer("pool1"))))


class XlaRuntimeError(RuntimeError):
    """Named as JAX names it."""


class OutOfMemoryError(RuntimeError):
    """Named as PyTorch names it."""


EXHAUSTED = [
    tf.errors.ResourceExhaustedError(None, None, "failed to allocate memory"),
    tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[1,512,512,64]"),
    XlaRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4294967296 bytes."),
    OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."
    ),
    OSError(12, "Cannot allocate memory"),
    MemoryError("Unable to allocate 7.45 GiB for an array with shape (1000000000,) and data type float64"),
]


class Cramped(Network):
    """A network on a device that bears pictures of so many pixels, and otherwise raises `error`."""

    def __init__(self, pixels: int, error: BaseException) -> None:
        super().__init__(KERNELS, "cramped")
        self.pixels, self.error = pixels, error

    def features(self, picture: Tensor, layers: Sequence[Layer], *how: Any, **more: Any) -> list[Tensor]:
        if picture.shape[1] * picture.shape[2] > self.pixels:
            raise self.error
        return super().features(picture, layers, *how, **more)


def objective(network: Network, view: View = VIEW) -> Objective:
    wanted = [
        target([one])
        for one in Objective(Network(KERNELS, "roomy"), view, GramDistance(()), None).averages(picture(60, 60, 1))
    ]
    return Objective(network, view, GramDistance((1.0, 1.0)), wanted)


@pytest.mark.parametrize("error", EXHAUSTED, ids=lambda error: str(error)[:40])
def test_it_is_known_by_whatever_name_a_backend_gives_it(error: BaseException) -> None:
    assert memory.is_out_of_memory(error)


@pytest.mark.parametrize(
    ("rows", "columns", "pixels", "tile", "view"),
    [(560, 100, 150 * 100, 140, VIEW), (301, 99, 160 * 110, 150, View(VIEW.places, padding="same"))],
    ids=["a long one is cut across", "zeros around it are not put around tiles"],
)
def test_what_does_not_fit_is_done_in_tiles_with_the_same_result(
    rows: int, columns: int, pixels: int, tile: int, view: View
) -> None:
    at = picture(rows, columns)
    cramped = objective(Cramped(pixels, EXHAUSTED[0]), view)
    loss, gradient = objective(Network(KERNELS, "roomy"), view)(at)
    found, slope = cramped(at)
    assert cramped.tile == tile
    assert found == pytest.approx(loss, rel=1e-5)
    assert apart(slope, gradient) < 1e-5


def test_sources_that_do_not_fit_are_looked_at_in_tiles() -> None:
    source = picture(300, 140)
    cramped = objective(Cramped(160 * 160, EXHAUSTED[0]))
    whole = objective(Network(KERNELS, "roomy")).averages(source)
    for found, wanted in zip(cramped.averages(source), whole, strict=True):
        assert apart(found.products, wanted.products) < 1e-5
    assert cramped.tile == 150


def test_what_fits_in_no_tile_fails_as_it_did() -> None:
    cramped = objective(Cramped(100, EXHAUSTED[0]))
    with pytest.raises(tf.errors.ResourceExhaustedError, match="failed to allocate"):
        cramped(picture(300, 200))
    assert cramped.tile == LEAST_TILE


def test_a_picture_to_keep_is_looked_at_in_tiles() -> None:
    at = picture(300, 140)
    cramped = objective(Cramped(160 * 160, MemoryError()))
    features = objective(Network(KERNELS, "roomy")).features(at, 0)
    assert apart(cramped.features(at, 0), features) < 1e-6
    assert cramped.tile == 150


def test_other_failures_are_no_reason_for_tiles() -> None:
    wrong = objective(Cramped(100, RuntimeError("the allocation of shapes is wrong")))
    with pytest.raises(RuntimeError, match="shapes is wrong"):
        wrong(picture(300, 200))
    assert wrong.tile is None


def test_terms_of_the_pixels_are_added_once() -> None:
    """Whatever happened before: they are no part of what is tried again."""
    at = picture(300, 100)
    seen = objective(Cramped(160 * 100, MemoryError()))
    loss, gradient = objective(Network(KERNELS, "roomy"))(at)
    seen.extras = [lambda one: (float(ops.sum(one)), ops.ones_like(one))]
    found, slope = seen(at)
    assert found == pytest.approx(loss + float(at.astype(np.float64).sum()), rel=1e-5)
    assert apart(slope, to_numpy(gradient) + 1) < 1e-5


def test_whoever_must_stop_stops_between_tiles() -> None:
    class Stopped(Exception):
        pass

    calls: list[int] = []

    def alive() -> None:
        calls.append(len(calls))
        if len(calls) == 3:
            raise Stopped

    seen = objective(Network(KERNELS, "roomy"))
    seen.tile, seen.alive = 64, alive
    with pytest.raises(Stopped):
        seen(picture(200, 200))
    assert len(calls) == 3 and seen.tile == 64


def test_work_is_halved_as_long_as_memory_does_not_suffice() -> None:
    tried: list[int] = []

    def work(size: int) -> str:
        tried.append(size)
        if size > 10:
            raise MemoryError
        return "done"

    assert memory.within_memory(work, 100, 1) == ("done", 6)
    assert tried == [100, 50, 25, 12, 6]
    with pytest.raises(MemoryError):
        memory.within_memory(work, 100, 40)
    assert tried[5:] == [100, 50, 40]


# How much there is ---------------------------------------------------------------------------------------------------

KIB = 1024


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose `proc` and `sys` stand for the kernel's, on a machine without a GPU. 8000 KiB are available."""
    for name in ("proc", "sys/memory"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal:       16000 kB\nMemFree: 100 kB\nMemAvailable:    8000 kB\nodd\n")

    def moved(path: Path) -> Path:
        return tmp_path / "sys" / path.relative_to(memory.GROUPS)

    limits = [
        memory.Limit(moved(limit.most), moved(limit.used), moved(limit.details), limit.cached)
        for limit in memory.LIMITS
    ]
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "proc/meminfo")
    monkeypatch.setattr(memory, "LIMITS", limits)
    monkeypatch.setattr(backend, "free_memory", lambda: None)
    return tmp_path


def test_a_machine_without_containers_has_what_linux_calls_available(machine: Path) -> None:
    assert memory.free() == 8000 * KIB


def test_an_accelerator_comes_first(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for free in (0, 5 << 30):
        monkeypatch.setattr(backend, "free_memory", lambda free=free: free)
        assert memory.free() == free


@pytest.mark.parametrize(
    ("most", "used", "left"),
    [
        ("3072000", "1024000", 2000 * KIB),
        ("max", "1024000", 8000 * KIB),
        ("100", "200", 0),
        ("9" * 18, "0", 8000 * KIB),
    ],
)
@pytest.mark.parametrize(
    ("limit", "usage"),
    [("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")],
)
def test_a_container_has_what_its_limit_leaves(
    machine: Path, limit: str, usage: str, most: str, used: str, left: int
) -> None:
    (machine / "sys" / limit).write_text(f"{most}\n")
    assert memory.free() == 8000 * KIB, "half of the files is none"
    (machine / "sys" / usage).write_text(f"{used}\n")
    assert memory.free() == left


@pytest.mark.parametrize(
    ("folder", "limit", "usage", "line"),
    [
        (".", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ],
)
def test_what_caches_files_counts_as_free(machine: Path, folder: str, limit: str, usage: str, line: str) -> None:
    """A container that has read large files stands at its limit, and yet has room."""
    group = machine / "sys" / folder
    (group / limit).write_text("4096000")
    (group / usage).write_text("4096000")
    assert memory.free() == 0
    (group / "memory.stat").write_text(f"anon 1000\n{line} 3072000\nactive_file 5\n")
    assert memory.free() == 3072000
    (group / "memory.stat").write_text("not a table at all\n")
    assert memory.free() == 0


def test_where_nothing_is_told_half_of_the_machine_is_assumed(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__)
    for told in ("MemTotal: 5 kB\n", "MemAvailable: many\n", "MemAvailable:\n"):
        (machine / "proc/meminfo").write_text(told)
        assert memory.free() == 2048000
    (machine / "proc/meminfo").unlink()
    assert memory.free() == 2048000


def test_where_nobody_says_nobody_guesses(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> int:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr("os.sysconf", unknown)
    (machine / "proc/meminfo").unlink()
    assert memory.free() is None
