"""The Solidity verifier that ezkl writes for a circuit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from ..errors import BackendError, BackendTimeout
from .compilation import CircuitFiles, require

# ---------------------------------------------------------------- on chain


def verifier_source(files: CircuitFiles, seconds: float = 60) -> str:
    """Solidity of the contract `Halo2Verifier` that checks proofs of this circuit; the same text every time.

    ezkl writes the source, then wants one particular compiler, only for an ABI that nobody needs. It
    is given one that fails at once: with none it would look for one on the network. So its error says
    nothing, and what counts is that the source is there to its last brace.

    Raises:
        ArtifactError: a key, the settings or the SRS is missing.
        BackendTimeout: ezkl gave no answer within `seconds` and was stopped.
        BackendError: ezkl wrote no complete source.
    """
    for path, what in ((files.vk, "verifying key"), (files.settings, "settings"), (files.srs, "SRS")):
        require(path, what)
    with tempfile.TemporaryDirectory(prefix=f"zkmarket-{os.getpid()}-") as name:
        folder = Path(name)
        compiler = folder / ".svm" / "0.8.20" / "solc-0.8.20"
        compiler.parent.mkdir(parents=True)
        compiler.write_text("#!/bin/sh\nexit 1\n")
        compiler.chmod(0o700)
        written = folder / "verifier.sol"
        words = [files.vk, files.settings, written, folder / "abi.json", files.srs]
        try:
            done = subprocess.run(
                [sys.executable, "-c", _WRITE_VERIFIER, *map(str, words)],
                env={**os.environ, "HOME": name, "EZKL_REPO_PATH": name},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            raise BackendTimeout(f"ezkl wrote no verifier contract within {seconds:.0f} s and was stopped") from None
        source = written.read_text() if written.is_file() else ""
    if not _is_whole_verifier(source):
        raise BackendError(f"ezkl wrote no complete verifier contract: {done.stderr.strip() or 'it said nothing'}")
    return source.rstrip() + "\n"


_WRITE_VERIFIER = """
import asyncio, os, sys, ezkl
async def write():
    vk, settings, source, abi, srs = sys.argv[1:]
    await ezkl.create_evm_verifier(vk, settings, source, abi, srs, False)
try:
    asyncio.run(write())
except BaseException as error:
    print(error, file=sys.stderr)
sys.stderr.flush()
os._exit(0)  # ezkl's EVM functions sometimes crash in the interpreter's own exit
"""


def _is_whole_verifier(source: str) -> bool:
    """Every brace that opens closes, the last one ends the text, and the parts that matter are there."""
    depth, last = 0, False
    for brace in re.findall(r"[{}]", source):
        depth += 1 if brace == "{" else -1
        if depth < 0 or last:
            return False
        last = depth == 0
    parts = ("contract Halo2Verifier {", "function verifyProof(", "// vk_digest", "success := ec_pairing(")
    return last and source.rstrip().endswith("}") and all(part in source for part in parts)
