"""An app's `app.json`: what a review app gets before its code runs for the first time."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heroku_sandbox import lookup


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An add-on that is to be there: its plan, and under which name it is attached."""

    plan: str
    attachment: str | None = None
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What counts for one kind of environment (`review`): its keys stand before those for all."""

    env: dict[str, Any]
    addons: list[Wanted]
    scripts: dict[str, str]
    formation: dict[str, Any]

    def variables(self, given: Mapping[str, str]) -> dict[str, str]:
        """Returns the config vars; what is `given` comes first. Raises ApiError (422) for one without a value."""
        found = {}
        for name, said in self.env.items():
            about = said if isinstance(said, dict) else {"value": said}
            if name in given:
                continue
            if about.get("generator") == "secret":
                found[name] = secrets.token_hex(32)
            elif about.get("value") is not None:
                found[name] = str(about["value"])
            elif about.get("required", True):
                raise lookup.invalid(f"app.json requires the config var {name}, and nothing gives it a value.")
        return found | dict(given)


def read(folder: Path, environment: str) -> Manifest:
    """Reads a folder's app.json for one kind of environment; none is an empty one. Raises ApiError (422)."""
    file = folder / "app.json"
    try:
        everything = json.loads(file.read_text()) if file.exists() else {}
        own = (everything.get("environments") or {}).get(environment) or {}
        merged = {
            name: (everything.get(name) or {}) | (own.get(name) or {}) for name in ("env", "scripts", "formation")
        }
        addons = own.get("addons", everything.get("addons")) or []
        return Manifest(addons=[_wanted(each) for each in addons], **merged)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise lookup.invalid(f"app.json cannot be read: {error}") from error


def _wanted(said: Any) -> Wanted:
    if isinstance(said, str):
        return Wanted(plan=said)
    return Wanted(plan=said["plan"], attachment=said.get("as"), config=said.get("options") or {})
