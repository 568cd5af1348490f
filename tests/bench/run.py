"""`swatch run`: from the key press to the job's agent, from a program's print to `logs -f`, and 20 runs at once."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

Called = Callable[..., str]
RUNS = 7
LINES = 20
AT_ONCE = 20
TICKS = (
    "import sys, time\n"
    f"for _ in range({LINES}):\n"
    "    time.sleep(1.13)\n"  # no multiple of the agent's pace: lines meet it at every phase
    "    print('at', time.time())\n"
)


def run(arguments: Sequence[str] = ()) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "code")
        folder.mkdir()
        environment = {**os.environ, "SWATCH_HOME": str(Path(name, "home"))}
        for variable in ("SWATCH_STORE", "SWATCH_BACKEND"):
            environment.pop(variable, None)
        swatch = [str(Path(sys.executable).with_name("swatch"))]

        def called(*words: str) -> str:
            done = subprocess.run([*swatch, *words], cwd=folder, env=environment, capture_output=True, text=True)
            if done.returncode:
                sys.exit(done.stderr)
            return done.stdout

        (folder / "ticks.py").write_text(TICKS)
        called("init", "bench")
        _start(called)
        _latency(swatch, folder, environment, called)
        _at_once(swatch, folder, environment, called)


def _start(called: Called) -> None:
    """Seconds from the start of `swatch run` until its agent and its command were at work, and until it returned."""
    agent, command, back = [], [], []
    for _ in range(RUNS):
        began = time.time()
        out = called("run", "date +%s.%N", "--json")
        back.append(time.time() - began)
        name = json.loads(out)["jobs"][0]["name"]
        events = [json.loads(line) for line in called("logs", name, "-f", "--json").splitlines()]
        agent.append(next(one["time"] for one in events if one.get("state") == "starting") - began)
        command.append(
            float(next(one["text"] for one in events if one["kind"] == "log" and not one.get("note"))) - began
        )
    for label, times in (("agent at work", agent), ("command at work", command), ("swatch run back", back)):
        print(f"{label:17} {statistics.median(times):6.2f} s after the start (best {min(times):.2f}, of {RUNS})")


def _latency(swatch: list[str], folder: Path, environment: dict[str, str], called: Called) -> None:
    """Seconds from a program's print to the line on the screen of `logs -f`."""
    called("run", "python3 ticks.py")
    follow = subprocess.Popen([*swatch, "logs", "-f"], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    late = []
    assert follow.stdout is not None
    for line in follow.stdout:
        words = line.split()
        if len(words) == 4 and words[2] == "at":
            late.append(time.time() - float(words[3]))
    follow.wait()
    worst = max(late)
    print(f"print to logs -f  {statistics.median(late):6.2f} s (longest {worst:.2f}, of {len(late)} lines)")


def _at_once(swatch: list[str], folder: Path, environment: dict[str, str], called: Called) -> None:
    """Seconds for runs that are started at the same moment, and whether each has a number of its own."""
    began = time.time()
    some = [
        subprocess.Popen([*swatch, "run", "true", "--json"], cwd=folder, env=environment, stdout=subprocess.PIPE)
        for _ in range(AT_ONCE)
    ]
    names = {json.loads(one.communicate()[0])["jobs"][0]["name"] for one in some}
    spent = time.time() - began
    print(f"{AT_ONCE} runs at once   {spent:6.2f} s, {len(names)} numbers")
