"""Which paths of a folder are left out: git's own rules (gitignore(5)), read from ignore files. Nothing here touches a
disk.

A path is judged on its own, folders before what is in them: within an ignored folder nothing can come back. Of the
files that speak of a path, those of Swatch (or FloydHub) go before git's, and all before the built-in list; of one
kind the deepest goes first, and in it the last line that matches.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Collection, Iterable
from typing import Literal, NamedTuple

from orchestrator import contract, folder

Verdict = Literal["keep", "ignore", "secret"]

OURS, GITS, FLOYDHUBS = ".swatchignore", ".gitignore", ".floydignore"
MAX_FILE = 1 << 20
"""Bytes of an ignore file."""

STATE = (*folder.STATE_FILES, contract.BROUGHT)
"""Files that say to what a folder belongs, or that it was brought here: of this computer, and of no job."""
ALWAYS = (
    *(".git", ".hg/", ".svn/", ".venv/", "venv/", "__pycache__/", "*.py[co]", ".mypy_cache/", ".pytest_cache/"),
    *(".ruff_cache/", ".ipynb_checkpoints/", "node_modules/", ".DS_Store", "/outputs/", ".swatch/", *STATE),
)
"""What is never code, unless an ignore file says `!name`. Never plain `lib` or `var`, as FloydHub had: they are also
names of people's own packages."""
NO_DATA = (".git", ".hg/", ".svn/", *(f"/{name}" for name in (*STATE, OURS, FLOYDHUBS)), contract.HOME_INDEX)
"""What is never data: state and histories of folders, not what somebody put there."""
SECRETS = (
    *("id_rsa", "id_dsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk", ".ssh/", "*.ppk"),
    *("*.pem", "!cacert.pem", "*.key", "*.p12", "*.pfx"),
    *(".netrc", "_netrc", ".npmrc", ".pypirc", ".pgpass", ".git-credentials", ".htpasswd", "kaggle.json"),
    *(".aws/", ".gnupg/", "credentials.json", "client_secret*.json", "service-account*.json", "service_account*.json"),
    *(".env", ".env.*", ".envrc", "!.env.example", "!.env.sample", "!.env.template", "!.env.dist"),
)
"""Names under which secrets are kept: keys as ssh-keygen(1) and PuTTY name them; private keys and PKCS #12 files by
their usual endings (certifi's public `cacert.pem` is none); the files in which netrc(5), npm, twine, psql, git,
htpasswd and Kaggle keep passwords; folders of AWS and GnuPG; Google's downloads of credentials; and `.env` files, but
not the examples that projects share."""

_CLASSES = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "lower": "a-z",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
    "space": " \t",
}
"""POSIX classes as git's wildmatch.c has them; those of control characters and punctuation are not meant here."""


class Line(NamedTuple):
    """A line of an ignore file: its text, whether it ignores what it means or brings it back, and pathspec's expression
    for it."""

    text: str
    include: bool
    regex: re.Pattern[str]

    def means(self, path: str, folder: bool) -> bool:
        """Whether it means this very path: the expression also matches what is below a folder that is meant, and marks
        the slash behind the folder's name as its only group."""
        if any(found.lastindex is None for found in self.regex.finditer(path)):
            return True
        return folder and any(
            found.lastindex is not None and found.end(found.lastindex) == len(path) + 1
            for found in self.regex.finditer(path + "/")
        )


class Layer(NamedTuple):
    """The lines of one ignore file, which speak of what is below its folder (`` or `folder/`)."""

    below: str
    lines: tuple[Line, ...]
    likely: re.Pattern[str] | None  # any of them: most paths meet none, and this is one search instead of many

    def says(self, name: str, folder: bool) -> Line | None:
        """The last line that means the path, if there is one."""
        path = name[len(self.below) :]
        if self.likely is None or self.likely.search(path + "/" if folder else path) is None:
            return None
        return next((one for one in reversed(self.lines) if one.means(path, folder)), None)


class Rules(NamedTuple):
    """What is known of a folder on the way to it: `files` are the names of the ignore files that count, `layers` the
    lines read so far, for each of these names."""

    files: tuple[str, ...]
    layers: tuple[tuple[Layer, ...], ...]
    always: Layer
    secrets: Layer

    def below(self, folder: str, texts: Collection[str | None]) -> Rules:
        """The rules within `folder` (`` or `folder/`), whose own ignore files hold `texts` (None where one is missing),
        in the order of `files`."""
        added = tuple(
            layers if text is None else (_layer(folder, text.split("\n")), *layers)
            for layers, text in zip(self.layers, texts, strict=True)
        )
        return self._replace(layers=added)

    def judge(self, name: str, folder: bool) -> Verdict:
        """What becomes of a path whose folder is kept. A link is no folder, wherever it leads."""
        layers = (one for layers in self.layers for one in layers)
        said = next((said for one in layers if (said := one.says(name, folder)) is not None), None)
        if said is not None and said.include:
            return "ignore"
        # `!*/` and the like bring back what other lines of people's have taken: they do not mean keys or venvs.
        if said is not None and re.search("[a-zA-Z0-9]", said.text):
            return "keep"
        if (secret := self.secrets.says(name, folder)) is not None and secret.include:
            return "secret"
        return "ignore" if (always := self.always.says(name, folder)) is not None and always.include else "keep"


def rules(found: Collection[str]) -> Rules:
    """The rules of a folder with these names in it, before any of its ignore files is read. A folder with FloydHub's
    ignore file and none of ours is an old project: FloydHub never read `.gitignore`, and such projects keep data out of
    git that their jobs need."""
    files = (FLOYDHUBS,) if FLOYDHUBS in found and OURS not in found else (OURS, GITS)
    return Rules(files, ((),) * len(files), _built_in(ALWAYS), _built_in(SECRETS))


def data_rules(found: Collection[str]) -> Rules:
    """The rules of a folder of data with these names in it: all of it is meant, but for what its own `.swatchignore`
    (or FloydHub's) names, version control, and our own state files."""
    return Rules(
        (FLOYDHUBS if FLOYDHUBS in found and OURS not in found else OURS,), ((),), _layer("", NO_DATA), _layer("", ())
    )


def line(name: str, folder: bool) -> str:
    """The line of the topmost ignore file that leaves out this path and nothing else."""
    escaped = re.sub(r"([\\*?\[])", r"\\\1", name)
    # No line holds a line's end, nor should a terminal see it; and spaces at a line's end do not count.
    escaped = re.sub(r"(\s)$", r"[\1]", re.sub(r"[\x00-\x1f\x7f]", "?", escaped))
    return f"/{escaped}/" if folder else f"/{escaped}"


@functools.cache
def _built_in(lines: tuple[str, ...]) -> Layer:
    return _layer("", lines)


def _layer(below: str, texts: Iterable[str]) -> Layer:
    import pathspec

    lines: list[Line] = []
    with warnings.catch_warnings():  # of `[[`, which might one day mean something else in Python's expressions
        warnings.simplefilter("ignore", FutureWarning)
        for text in texts:
            wanted = text
            for name, letters in _CLASSES.items():
                wanted = wanted.replace(f"[:{name}:]", letters)  # pathspec 1.1 does not know them
            # To git these are the folders below it at any depth; to pathspec 1.1, the folder itself.
            wanted = re.sub(r"(?<=[^/])/\*\*/\s*$", "/**/*/", wanted)
            try:
                patterns = pathspec.GitIgnoreSpec.from_lines([wanted]).patterns
            except ValueError:  # as git: a line that is no pattern matches nothing
                continue
            for one in patterns:
                if one.include is not None and one.regex is not None:
                    lines.append(Line(text, one.include, one.regex))
        # Groups are named alike in all of them, and cannot be in one expression.
        any_of = "|".join(f"(?:{re.sub('[(][?]P<[a-z_]+>', '(?:', one.regex.pattern)})" for one in lines)
        return Layer(below, tuple(lines), re.compile(any_of) if lines else None)
