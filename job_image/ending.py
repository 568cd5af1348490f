"""How a command ended, and the sentence that says why. Pure.

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import re
import signal
from typing import NamedTuple, Sequence

from orchestrator import contract

REASONS = {
    contract.SHUTDOWN: "stopped",
    contract.TIMEOUT: "ran longer than max_runtime",
    contract.QUEUED: "interrupted: its machine was taken away",
}
"""Why a command was ended, by the state its job is in then."""
OUTPUT_HINT = " (here /output is $SWATCH_OUTPUT_DIR: hand it to the program, as in `program.py /output`)"
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
"""Exit codes of a command that was killed, itself or what its shell ran last."""
NEARLY_ALL = 0.9
"""Of the memory there is: who is killed with so much of it in use has most likely used it up."""
MAX_REASON = 300


class Ended(NamedTuple):
    """How the command ended."""

    state: str
    exit_code: int | None
    reason: str


class Memory(NamedTuple):
    """What is known of a command's memory. peak and limit in bytes, None where unknown; kills: how many processes the
    kernel has killed meanwhile for want of memory, in the job's own control group, and on all of the machine."""

    peak: int | None = None
    limit: int | None = None
    kills: int = 0
    machine_kills: int = 0

    @property
    def told(self) -> str:
        if self.peak is None or self.limit is None:
            return "killed: out of memory"
        return f"killed: out of memory (peak {self.peak / 1e9:.1f} of {self.limit / 1e9:.1f} GB)"


def failure(code: int, tail: Sequence[str], memory: Memory, real: bool) -> str:
    """Why a command failed that ended with this code (minus a signal's number), from the last lines it wrote. `real`:
    the contract's paths are as they should be."""
    last = next((line.strip() for line in reversed(tail) if line.strip()), "")
    used_up = memory.peak is not None and memory.limit is not None and memory.peak >= NEARLY_ALL * memory.limit
    if memory.kills or (code in KILLED and (memory.machine_kills or used_up)):
        why = memory.told
    elif code in KILLED:
        why = "killed by SIGKILL"
    elif code < 0:
        why = f"killed by {contract.signal_name(-code)}"
    else:
        why = f"exit code {code}"
    missed = not real and any(re.search(r"""No such file.*['"]/output\b""", line) for line in tail)
    hint = OUTPUT_HINT if missed else ""
    return f"{why}: {last[:MAX_REASON]}{hint}" if last else why
