"""swatch data: one verb per module, imported when it is called."""

from __future__ import annotations

from collections.abc import Mapping

import click

from orchestrator.cli import Verbs

VERBS = {
    "init": "Have this folder be a dataset's.",
    "upload": "Upload this folder as a new version; go on where it stopped.",
    "status": "List datasets and their versions.",
    "output": "Say where the files of data are.",
    "listfiles": "List the files of data, one path a line.",
    "getfile": "Fetch one file of data.",
    "clone": "Fetch data into a folder.",
    "add": "Make what a job has made a version of a dataset.",
    "delete": "Delete versions of datasets.",
    "fetch": "Fetch VGG-19's weights, and make them a dataset.",
}

EXAMPLES = {
    "init": "swatch data init bark",
    "listfiles": "swatch data listfiles bark/1   (swatch data status lists the datasets)",
    "getfile": "swatch data getfile bark/1 oak.png   (swatch data listfiles bark/1 lists its files)",
    "clone": "swatch data clone bark/1   (swatch data status lists the datasets)",
    "add": "swatch data add forest/3/output --name bark",
    "delete": "swatch data delete bark/1   (swatch data status lists the datasets)",
    "fetch": "swatch data fetch vgg19",
}


class DataVerbs(Verbs):
    """The verbs of `swatch data`."""

    package = __name__
    verbs = VERBS
    gone: Mapping[str, str] = {}
    examples = EXAMPLES


@click.group(
    "data",
    cls=DataVerbs,
    short_help="Datasets: upload, look at, fetch and delete what jobs read.",
    subcommand_metavar="COMMAND ...",
)
def command() -> None:
    """Datasets: upload, look at, fetch and delete what jobs read.

    \b
    swatch data init bark
    swatch data upload
    swatch submit forest.yaml       with  data: [bark/1:bark]  in it

    A version never changes once it is valid. NAME is alice/datasets/bark/2, bark/2, bark
    (its latest version) or, in a dataset's folder, a number. Where files are read, it may
    also be the output of a job: forest/3/output.
    """
