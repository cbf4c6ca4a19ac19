"""Record what the README says of an own model, from a real run with cold keys: a cast for asciinema, and a picture.

    .venv/bin/python docs/recording/record.py

Nothing is typed in by hand: what is in the files is what the commands printed, at the second at which they did.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
WIDTH = 116
COMMANDS = (
    (".", "zkmarket new my-market"),
    (".", "cd my-market && cat my_model.py"),
    ("my-market", "make up"),
)
SVG = """\
<svg viewBox="0 0 {terminal_width} {terminal_height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: monospace; font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs>{lines}</defs>
<rect width="{terminal_width}" height="{terminal_height}" rx="8" fill="#292929"/>
<g transform="translate(9, 9)">{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


class Recording:
    """Lines, and when they came."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.events: list[tuple[float, str]] = []

    def say(self, text: str) -> None:
        self.events.append((round(time.monotonic() - self.began, 3), text))
        print(text, end="", flush=True)

    def run(self, command: str, folder: Path, environment: dict[str, str]) -> None:
        self.say(f"$ {command}\n")
        with subprocess.Popen(
            command,
            shell=True,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout
            for line in process.stdout:
                self.say(line)
        if process.returncode:
            raise SystemExit(f"{command} failed with exit code {process.returncode}: nothing is written")

    def write_cast(self, path: Path) -> None:
        """The format of asciinema, version 2."""
        height = 36
        header = {"version": 2, "width": WIDTH, "height": height, "title": "zkmarket: a market of your own"}
        rows = [json.dumps([when, "o", text.replace("\n", "\r\n")], ensure_ascii=False) for when, text in self.events]
        path.write_text("\n".join([json.dumps(header), *rows]) + "\n")

    def write_picture(self, path: Path) -> None:
        console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
        for _, text in self.events:
            typed = text.startswith("$ ")
            console.print(Text(text.rstrip("\n"), style="bold green" if typed else ""), soft_wrap=False)
        path.write_text(console.export_svg(code_format=SVG, unique_id="own-market"))


def main() -> None:
    recording = Recording()
    with tempfile.TemporaryDirectory() as place:
        programs = Path(sys.executable).parent
        environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "ZKMARKET_CACHE": f"{place}/cache"}
        for folder, command in COMMANDS:
            recording.run(command, Path(place) / folder, environment)
    recording.write_cast(HERE / "own-market.cast")
    recording.write_picture(HERE / "own-market.svg")


if __name__ == "__main__":
    main()
