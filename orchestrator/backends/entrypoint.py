"""How the agent is started in a container, whoever made its image: what a backend says in place of the image's own
entrypoint. Pure.

A shell looks for a Python that the agent runs on, and becomes it: the agent is the container's first process and gets
its signals itself. Where there is none, that is said in the log, and where SageMaker reads why a job has failed.
"""

from __future__ import annotations

from collections.abc import Sequence

NO_PYTHON = "the image has no Python 3.8 or later, which Swatch's agent runs on"
MEND = "Add it to the image: RUN apt-get install -y python3"
EXIT_NO_PYTHON = 127
"""A shell's own code for a program that is not there."""
SCRIPT = (
    "for p in python3 python;do $p -c 'import sys;sys.exit(sys.version_info<(3,8))' 2>/dev/null&&exec $p \"$@\";done;"
    f'm="{NO_PYTHON}";echo "$m">&2;'
    f'cd /opt/ml/output 2>&-&&echo "$m">failure;exit {EXIT_NO_PYTHON}'
)
"""At most 256 characters: CreateTrainingJob takes no longer word (ContainerEntrypoint)."""


def words(agent: str, arguments: Sequence[str]) -> list[str]:
    """The command line that starts the agent's file in a container with these arguments."""
    return ["/bin/sh", "-c", SCRIPT, "swatch", agent, *arguments]
