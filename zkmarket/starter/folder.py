"""The folder that `zkmarket new` writes: a project, a model, data, keys, and a Makefile that plays it."""

from __future__ import annotations

import json
import secrets
import shlex
import sys
from pathlib import Path
from string import Template

from ..chain import Wallet
from ..errors import InputError
from ..files import atomic_write
from ..posting import DEVELOPMENT_WINDOWS, development_penalty

TEMPLATES = Path(__file__).parent / "templates"
KEYS, PASSWORD_FILE = "keys", "password"


def write_starter(folder: Path, trainers: int = 3, rounds: int = 2) -> list[str]:
    """Write a project that can be played at once; the names of its files.

    Raises InputError: the folder is there and not empty, or the numbers are none of a project.
    """
    penalty = development_penalty(trainers)
    if not 1 <= rounds <= 10_000:
        raise InputError(f"a project has from 1 to 10000 rounds: got {rounds}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there and not empty: choose a new folder")
    (folder / KEYS).mkdir(mode=0o700, parents=True)
    atomic_write(folder / KEYS / PASSWORD_FILE, f"{secrets.token_urlsafe(24)}\n".encode(), mode=0o600)
    addresses = {name: account(folder, name) for name in ("owner", "aggregator", *trainer_names(trainers))}
    words = {
        "name": json.dumps(folder.resolve().name, ensure_ascii=False),
        "rounds": rounds,
        "trainers": trainers,
        "penalty": penalty,
        "aggregator": addresses["aggregator"],
        "windows": "\n".join(f'{name} = "{span}"' for name, span in DEVELOPMENT_WINDOWS.items()),
        "zkmarket": program(),
    }
    for file in sorted(TEMPLATES.glob("*.template")):
        name = file.name.removesuffix(".template")
        text = Template(file.read_text()).substitute(words)
        (folder / (".gitignore" if name == "gitignore" else name)).write_text(text)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def trainer_names(trainers: int) -> list[str]:
    return [f"trainer-{number}" for number in range(1, trainers + 1)]


def keystore(folder: Path, name: str) -> Path:
    return folder / KEYS / f"{name}.json"


def password_of(folder: Path) -> str:
    return (folder / KEYS / PASSWORD_FILE).read_text().rstrip("\n")


def account(folder: Path, name: str) -> str:
    """Address of a role's account, which is made if it is not there. Quick to open: it is for development chains."""
    path, password = keystore(folder, name), password_of(folder)
    return Wallet.open(path, password).address if path.exists() else Wallet.create(path, password, light=True)


def program() -> str:
    """The command line of this installation, for a shell."""
    beside = Path(sys.executable).parent / "zkmarket"
    return shlex.quote(str(beside)) if beside.is_file() else f"{shlex.quote(sys.executable)} -m zkmarket"
