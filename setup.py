"""One step of a wheel's build: compiled contracts go in, and without them, or the page, there is none."""

import filecmp
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.errors import SetupError

ROOT = Path(__file__).parent
SHIPPED = ROOT / ".build" / "shipped"


class BuildWithContracts(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode:  # works in the source tree, and compiles there
            return
        if not (ROOT / "zkmarket" / "page" / "dist" / "replay.js").is_file():
            raise SetupError(f"the report's page of {ROOT} is not made: run `make wheel` there")
        sources = [path for path in (ROOT / "contracts").rglob("*") if path.suffix in (".sol", ".cjs")]
        sources += [ROOT / name for name in ("brownie-config.yaml", "package.json", "package-lock.json")]
        copies = [(path, SHIPPED / path.relative_to(ROOT)) for path in sources]
        if not all(copy.is_file() and filecmp.cmp(path, copy, shallow=False) for path, copy in copies):
            raise SetupError(f"the contracts of {ROOT} are not compiled as they are now: run `make wheel` there")
        target = Path(self.build_lib) / "zkmarket" / "shipped"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(SHIPPED, target)


setup(cmdclass={"build_py": BuildWithContracts})
