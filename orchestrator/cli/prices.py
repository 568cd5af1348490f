"""swatch prices"""

from __future__ import annotations

import click

from orchestrator import machines, prices, settings
from orchestrator.cli import screen
from orchestrator.cli.options import json_option, print_json
from orchestrator.prices import Price


@click.command("prices", short_help="Show what machines cost an hour.")
@click.option("--refresh", is_flag=True, help="Read them from AWS' Price List; what is a day old is kept.")
@click.option("--region", metavar="NAME", help="Only this AWS region [with --refresh: that of the AWS configuration].")
@json_option
def command(refresh: bool, region: str | None, as_json: bool) -> None:
    """Show what machines cost an hour as training jobs, on demand, in USD.

    The table that comes with Swatch is short and dated; a figure marked ~ is not vouched for by AWS' own list, and is
    not enough for max_cost. --refresh reads all machines of a region (IAM: pricing:GetProducts).
    """
    home = settings.load().home
    asked = None
    if refresh:
        from orchestrator import aws, pricelist

        region = region or aws.region()
        _, asked = pricelist.refresh(home, region)
    found = [price for key, price in sorted(prices.known(home).items()) if region in (None, key[0])]
    if as_json:
        rows_ = [{name: getattr(price, name) for name in price.__struct_fields__} for price in found]
        print_json("prices", {"asked": asked, "prices": rows_})
        return
    if not found:
        click.echo(f"No price of any machine in {region} is known; read them: swatch prices --refresh")
        return
    console = screen.console()
    # A table that an ordinary terminal has room for: where a figure is from is said once, below.
    notes = {source: str(number) for number, source in enumerate(dict.fromkeys(map(_source, found)), 1)}
    rows = screen.table("MACHINE", "REGION", "USD/H", "GPUS", "FROM", right=("USD/H",))
    for price in found:
        kind = machines.known(price.machine)
        gpus = f"{kind.gpus} x {kind.gpu} {kind.gpu_memory:.0f} GiB" if kind and kind.gpus else ""
        rows.add_row(
            screen.cell(price.machine),
            screen.cell(price.region),
            screen.cell(f"{'' if price.certain else '~'}{price.usd_per_hour:.4g}"),
            screen.cell(gpus),
            screen.cell(notes[_source(price)]),
        )
    console.print(rows)
    told = screen.table("", "")
    told.show_header = False
    for source, number in notes.items():
        told.add_row(screen.cell(number), screen.cell(source))
    console.print()
    console.print(told)
    if asked is False:
        click.echo("Read from AWS less than a day ago; not asked again.")


def _source(price: Price) -> str:
    """When the figure was read, and where."""
    return f"{price.date}: {price.source}"
