"""swatch image: one verb per module, imported when it is called."""

from __future__ import annotations

from collections.abc import Mapping

import click

from orchestrator.cli import Verbs

VERBS = {
    "build": "Build the image that jobs run in, unless it is there.",
    "push": "Push an image to your account's repository, unless it is there.",
    "list": "Show environments with their images, and the images there are.",
    "prune": "Remove images that no job needs any more.",
}


class ImageVerbs(Verbs):
    """The verbs of `swatch image`."""

    package = __name__
    verbs = VERBS
    gone: Mapping[str, str] = {}
    examples: Mapping[str, str] = {}


@click.group(
    "image",
    cls=ImageVerbs,
    short_help="Images that jobs run in: build, push, list and remove them.",
    subcommand_metavar="COMMAND ...",
)
def command() -> None:
    """Images that jobs run in: build, push, list and remove them.

    \b
    swatch image build
    swatch image push
    swatch run --backend docker "python train.py"

    `run` and `submit` build and push by themselves what their jobs need. An image's tag is
    the digest of all that goes in, so what has not changed is neither built nor pushed.
    """
