"""The word that a job has ended, for whoever wants to know: a webhook, and Slack.

Standard library only, and Python 3.8 syntax: the agent carries this file into images that are not ours.
"""

from __future__ import annotations

import http.client
import json
import time
from typing import Any, Callable, Mapping

from orchestrator import contract

SECONDS = 10.0
"""For one try."""
TRIES = 3
PAUSE = 1.0
"""Seconds between two tries."""
COLOURS = {contract.SUCCESS: "good", contract.FAILED: "danger"}
"""Slack's words (reference "Secondary message attachments"); any other end is a warning."""
MAX_METRICS = 40

Record = Mapping[str, Any]


def webhook(job: Record, final: Record) -> dict[str, Any]:
    """What a webhook gets, from the records `job.json` and `final.json`. `id` is the same each time that this end is
    told: whoever gets it twice can tell."""
    short = "{}/{}".format(job["project"], job["number"])
    return {
        "schema": contract.SCHEMA,
        "id": "{}@{}".format(name(job), final["ended"]),
        "job": name(job),
        "project": job["project"],
        "number": job["number"],
        "description": job.get("description", ""),
        "machine": job.get("machine", ""),
        "backend": job.get("backend", ""),
        "state": final["state"],
        "reason": final.get("reason", ""),
        "seconds": final.get("seconds", 0.0),
        "usd": usd(job, final),
        "metrics": dict(final.get("metrics", {})),
        "command": f"swatch info {short}",
    }


def slack(job: Record, final: Record) -> dict[str, Any]:
    """The same as Slack shows it (its incoming webhooks, and all that speak like them)."""
    state = final["state"]
    text = f"Job {name(job)} finished with state {state}"
    cost = usd(job, final)
    rows = [
        ("Status", f"{state}: {final['reason']}" if final.get("reason") else state),
        ("Instance Type", job.get("machine", "")),
        ("Duration", duration(final.get("seconds", 0.0))),
        ("Cost", "unknown" if cost is None else f"{cost:.2f} USD"),
        ("Description", job.get("description", "")),
        *sorted((key, f"{value:g}") for key, value in list(final.get("metrics", {}).items())[:MAX_METRICS]),
        ("Look", "swatch info {}/{}".format(job["project"], job["number"])),
    ]
    fields = [{"title": _plain(title), "value": _plain(said), "short": len(said) < 30} for title, said in rows if said]
    colour = COLOURS.get(state, "warning")
    return {"text": _plain(text), "attachments": [{"fallback": _plain(text), "color": colour, "fields": fields}]}


FORMS: dict[str, Callable[[Record, Record], dict[str, Any]]] = {contract.WEBHOOK: webhook, contract.SLACK: slack}


def tell(addresses: Mapping[str, str], job: Record, final: Record) -> list[str]:
    """Tell it at these addresses (by contract.WEBHOOK, contract.SLACK); the sentences of what could not be."""
    problems = [send(addresses[kind], form(job, final)) for kind, form in FORMS.items() if kind in addresses]
    return [f"the end of the job could not be told: {problem}" for problem in problems if problem]


def send(address: str, data: dict[str, Any]) -> str:
    """Post the JSON, three times if need be; why it could not be, or nothing. The address is a secret: it is not in
    what is said."""
    # A job has one end, and every verb imports this file: what takes long is imported here.
    import urllib.error
    import urllib.request

    problem = ""
    for left in range(TRIES - 1, -1, -1):
        try:
            asked = urllib.request.Request(  # the settings take http(s) only
                address,
                json.dumps(data).encode(),
                {"Content-Type": "application/json", "User-Agent": "swatch"},
                method="POST",
            )
            with urllib.request.urlopen(asked, timeout=SECONDS):
                return ""
        except urllib.error.HTTPError as error:
            error.close()
            problem = f"the address answers {error.code}"
            if 400 <= error.code < 500 and error.code != 429:
                return problem  # it will not like it better the next time
        # ValueError: no URL after all; HTTPException: what answers speaks no HTTP
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            problem = getattr(reason, "strerror", None) or type(reason).__name__
        if left:
            time.sleep(PAUSE)
    return problem


def name(job: Record) -> str:
    """The job's full name."""
    return "{}/projects/{}/{}".format(job["user"], job["project"], job["number"])


def usd(job: Record, final: Record) -> float | None:
    """What it has cost by its machine's price an hour; None where nobody knows that."""
    hourly = job.get("hourly")
    return None if hourly is None else round(hourly * final.get("seconds", 0.0) / 3600, 4)


def duration(seconds: float) -> str:
    """`1 h 2 min 5 s`."""
    hours, rest = divmod(int(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"


def _plain(text: str) -> str:
    """As Slack takes text that is no markup (reference "Formatting text for app surfaces")."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
