"""swatch data fetch"""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cargo import weights
from orchestrator.cli import screen
from orchestrator.cli.data import transfer
from orchestrator.cli.options import json_option, print_json, store_option
from orchestrator.swatch import Swatch


@click.command("fetch", short_help="Fetch VGG-19's weights, and make them a dataset.")
@click.argument("what", type=click.Choice(["vgg19"]))
@click.option("--as", "called", default=weights.NAME, show_default=True, metavar="[USER/]NAME", help="The dataset.")
@click.option(
    "--from",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take this file instead: Keras .h5, gatys .h5, .npz or .safetensors.",
)
@click.option("--url", default=weights.URL, hidden=True)
@click.option("--md5", default=weights.MD5, hidden=True)
@store_option
@json_option
def command(what: str, called: str, file: Path | None, url: str, md5: str, store: str | None, as_json: bool) -> None:
    """Fetch VGG-19's weights as Keras publishes them (80 MB), and make them a dataset for all jobs to mount.

    What was begun is gone on with, the published hash is verified, and every layer is looked at. If the dataset is
    there, nothing is done.

    \b
    swatch data fetch vgg19
    swatch data fetch vgg19 --as wxswxs/vgg-weights      FloydHub's own, for its tutorial
    swatch data fetch vgg19 --from gatys_valid.h5
    """
    data = Swatch(store).data
    again = f"swatch data fetch {what}" + (f" --as {called}" if called != weights.NAME else "")
    with transfer.going_on(again), transfer.shown("VGG-19", as_json) as tell:
        version, made = data.fetch_vgg19(called, file, url=url, md5=md5, tell=tell)
    mounted = f"{version.user}/{version.dataset}/{version.number}:{weights.NAME.replace('-', '_')}"
    if as_json:
        print_json(
            "data fetch", {"name": version.name, "new": made, "files": [leaf.path for leaf in version.record.files]}
        )
        return
    holds = f"{version.record.files[0].path}, {screen.size(version.record.size)}"
    click.echo(f"{version.name}: {'ready' if made else 'there already'}, {holds}")
    click.echo(f"Mount it:  --data {mounted}    or in a manifest:  data: [{mounted}]")
