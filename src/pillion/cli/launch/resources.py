"""Where an app's resources and configuration come from."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from pillion.cli.launch import defaults, servers
from pillion.resources.runfile import AppRun
from pillion.toolbox import home as places
from pillion.toolbox.lazily import dataclass


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the sidecar is given. `told` says so to a person: a subject, and where it is from."""

    resources: tuple[Path, ...]
    config: Path | None
    told: tuple[tuple[str, str], ...]


def dapr_folder(environ: Mapping[str, str], asked: str = "") -> Path | None:
    """Dapr's own folder: `.dapr` of `--runtime-path`, of DAPR_RUNTIME_PATH, else of the home."""
    base = asked or environ.get("DAPR_RUNTIME_PATH", "") or environ.get("HOME", "") or places.home_of_user()
    return Path(os.path.expanduser(base)) / ".dapr" if base else None


def choose(app: AppRun, *, home: Path, dapr: Path | None, embedded: bool) -> Chosen:
    """Flags or the run file, the app's `.dapr`, Dapr's own folder if its servers answer, the embedded defaults.

    With `embedded` Dapr's folder is used even if its servers are silent: the sidecar then puts an engine in their place.
    """
    told: list[tuple[str, str]] = []
    resources = app.resources_paths or _of_app(app)
    config = app.config_file or _existing(app.app_dir / ".dapr" / "config.yaml")
    if not resources and dapr is not None and servers.has_components(dapr / "components"):
        silent = () if embedded else asyncio.run(servers.silent(dapr / "components"))
        if silent:
            names = ", ".join(map(str, silent))
            said = f"nobody answers at {names} (start it, or use --embedded)"
            told.append((f"{dapr / 'components'} is passed over", said))
        else:
            resources = (dapr / "components",)
    if not resources:
        resources = (defaults.folder(home),)
        names = ", ".join(f"{name} ({kind})" for name, kind in defaults.COMPONENTS.items())
        told.append(("Resources", f"embedded defaults in {resources[0]}: {names}"))
    else:
        told.append(("Resources", ", ".join(map(str, resources))))
    if config is None and dapr is not None:
        config = _existing(dapr / "config.yaml")
    if config is not None:
        told.append(("Configuration", str(config)))
    return Chosen(resources, config, tuple(told))


def _of_app(app: AppRun) -> tuple[Path, ...]:
    own = app.app_dir / ".dapr" / "resources"
    return (own,) if own.is_dir() else ()


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None
