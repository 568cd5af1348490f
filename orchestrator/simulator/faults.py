"""What goes wrong, as data: set by a test, or by another process over `/_simulator/faults`.

Chance is drawn from the seed, the kind of fault, what it meets and how often it has met it: not from the order in
which threads come by. The same calls meet the same faults.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter

import msgspec


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """How often: the next `next` times surely, then with `probability`."""

    next: int = 0
    probability: float = 0.0


class Faults(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be made to go wrong. Keys of the dicts name what is met, "*" all."""

    seed: int = 0
    throttle: dict[str, Fault] = {}
    """Operation (`CreateTrainingJob`) -> ThrottlingException; nothing is done."""
    errors: dict[str, Fault] = {}
    """Operation -> HTTP 500 InternalFailure; nothing is done."""
    lost: dict[str, Fault] = {}
    """Operation -> it is done, but the caller is told HTTP 500."""
    capacity: dict[str, Fault] = {}
    """Instance type -> a CapacityError; spot jobs wait for capacity up to MaxWaitTimeInSeconds."""
    internal: dict[str, Fault] = {}
    """Job name -> it fails with InternalServerError while training."""
    interrupt: dict[str, Fault] = {}
    """Job name -> the spot machine is taken away."""
    interrupt_after: tuple[float, float] = (1.0, 1.0)
    """Seconds of training after which an interruption or an internal error comes: from, to."""
    visible_after: float = 0.0
    """Seconds until ListTrainingJobs shows a new job."""
    described_after: float = 0.0
    """Seconds until DescribeTrainingJob knows a new job."""
    expired: bool = False
    """The caller's credentials have expired (a job's own have not)."""
    stalled_checkpoints: bool = False
    """The platform's checkpoint uploader has stopped silently (sagemaker-python-sdk issue 3062)."""


def chaos(seed: int) -> Faults:
    """Weather for a rehearsal: throttling, lost replies, lacking capacity, interruptions, late lists."""
    return Faults(
        seed=seed,
        throttle={"*": Fault(probability=0.1)},
        errors={"*": Fault(probability=0.02)},
        lost={"CreateTrainingJob": Fault(probability=0.1), "StopTrainingJob": Fault(probability=0.1)},
        capacity={"*": Fault(probability=0.15)},
        internal={"*": Fault(probability=0.05)},
        interrupt={"*": Fault(probability=0.3)},
        interrupt_after=(0.5, 20.0),
        visible_after=2.0,
    )


class Fate:
    """Decides whether a fault strikes. `faults` may be replaced at any time."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self._lock = threading.Lock()
        self._met: Counter[tuple[str, str]] = Counter()

    def strikes(self, kind: str, what: str) -> bool:
        """Whether the fault `kind` (a field of Faults) strikes `what` this time."""
        with self._lock:
            self._met[kind, what] += 1
            table: dict[str, Fault] = getattr(self.faults, kind)
            fault = table.get(what) or table.get("*")
            if fault is None:
                return False
            if fault.next > 0:
                fault.next -= 1
                return True
            return self._draw(kind, what) < fault.probability

    def moment(self, what: str) -> float:
        """Seconds of training until something happens to `what`: within `interrupt_after`."""
        low, high = self.faults.interrupt_after
        with self._lock:
            self._met["moment", what] += 1
            return low + (high - low) * self._draw("moment", what)

    def _draw(self, kind: str, what: str) -> float:
        drawn = hashlib.sha256(f"{self.faults.seed}/{kind}/{what}/{self._met[kind, what]}".encode()).digest()
        return int.from_bytes(drawn[:8], "big") / 2**64
