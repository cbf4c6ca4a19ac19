"""What a role was told, kept in its folder."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..documents import read_json, write_json
from ..errors import InputError


@dataclass
class Settings:
    """What a role was told, kept in settings.json so that it need not be told again.

    Attributes:
        unproven: what was given now and is kept only once it has been found right, with what was kept before it.
    """

    folder: Path
    value: dict[str, Any] = field(default_factory=dict)
    unproven: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, unproven: Collection[str] = (), **given: Any) -> Settings:
        """Those of a folder, with what is given now on top.

        Args:
            unproven: names of what is not kept before `accept` is called.
        """
        path = folder / "settings.json"
        kept = read_json(path, "settings") if path.exists() else {}
        if not isinstance(kept, dict):
            raise InputError(f"{path} does not hold settings: delete it and give them again")
        given = {name: value for name, value in given.items() if value is not None}
        settings = cls(folder, kept | given, {name: kept.get(name) for name in given if name in unproven})
        if "project" in given:
            settings.belongs_to("project", given["project"], kept.get("project"))
        return settings

    def belongs_to(self, what: str, given: Any, kept: Any) -> None:
        """A folder is of one project on one chain: rounds, keys and openings in it go by their numbers."""
        if kept not in (None, given):
            raise InputError(f"{self.folder} belongs to {what} {kept}, not to {given}: choose a new folder")

    def save(self) -> None:
        path = self.folder / "settings.json"
        value = {name: value for name, value in (self.value | self.unproven).items() if value is not None}
        if not path.exists() or read_json(path, "settings") != value:
            write_json(path, value, mode=0o600)

    def accept(self) -> None:
        """Keep what was given, too: it has been found right."""
        self.unproven = {}
        self.save()

    def __getitem__(self, name: str) -> str:
        if name not in self.value:
            raise InputError(f"{self.folder} does not know its {name}: give --{name.replace('_', '-')}")
        text: str = self.value[name]
        return text

    def get(self, name: str, default: Any = None) -> Any:
        return self.value.get(name, default)

    def set(self, **given: Any) -> None:
        self.value |= given
        self.save()
