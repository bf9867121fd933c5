"""Plug-ins: what a config names in other people's packages, as `package.module:Name`, and where it came from."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import logging
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from reid import config

log = logging.getLogger("reid")


def is_one(name: str) -> bool:
    """Whether a NAME leads out of reid/; `timm:` before one of timm's networks does not."""
    return ":" in name and not name.startswith("timm:")


def label(name: str) -> str:
    """What logs call it: a plug-in's own name in lower case, any other NAME as it is."""
    return name.rpartition(":")[2].lower() if is_one(name) else name


def find(name: str) -> Any:
    """The object `name` speaks of, its module imported as any other; no file is read by its path.

    Raises ValueError, in one line, for another form, a module that cannot be imported here, or one without the object.
    """
    path, _, attribute = name.partition(":")
    package = path.partition(".")[0]
    if not all(word.isidentifier() for word in [*path.split("."), attribute]):
        raise ValueError(f"{name}: expected package.module:Name, where `import package.module` works")
    if package in {*sys.stdlib_module_names, "__main__", "reid"}:
        raise ValueError(f"{name}: {package} is no package of plug-ins; expected one of your own, that can be imported")
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if not f"{path}.".startswith(f"{error.name}."):  # it was found, and lacks something itself
            raise ValueError(f"{name}: {path} cannot be imported: it needs {error.name}, which is not here") from error
        raise ValueError(
            f"{name}: the package {package} cannot be imported here (no module {error.name}); "
            "install it, put the folder it lies in on PYTHONPATH, or run reid from there"
        ) from None
    except (Exception, SystemExit) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{name}: {path} cannot be imported ({said}); mend {package}, or leave it out") from error
    if not hasattr(module, attribute):
        offered = [key for key in vars(module) if not key.startswith("_")]
        raise ValueError(f"{name}: found no {attribute} in {path}{config.nearest(attribute, offered)}")
    return getattr(module, attribute)


def origin(name: str) -> dict[str, str]:
    """Where a plug-in came from: `name`; `distribution` with its version, empty where none is installed; `sha256` of the
    file that defines it."""
    file = inspect.getfile(find(name))
    packages = metadata.packages_distributions().get(name.partition(":")[0].partition(".")[0], [])
    distribution = ", ".join(f"{package} {metadata.version(package)}" for package in sorted(set(packages)))
    return {"name": name, "distribution": distribution, "sha256": hashlib.sha256(Path(file).read_bytes()).hexdigest()}


def readable(origin: Mapping[str, str]) -> str:
    """`mypackage.losses:Mine (mypackage 1.2, sha256 0123456789abcdef)`."""
    return f"{origin['name']} ({origin['distribution'] or 'no distribution'}, sha256 {origin['sha256'][:16]})"


def say(origins: Sequence[Mapping[str, str]], content: Mapping[str, Any] | None) -> None:
    """Logs each plug-in in use, and which are no longer what they were for the checkpoint `content`."""
    then = {origin["name"]: origin for origin in (content or {}).get("plugins", [])}
    for now in origins:
        log.info("plug-in %s", readable(now))
        if then.get(now["name"], now) != now:
            log.warning("it was %s when the checkpoint was written; figures may differ", readable(then[now["name"]]))
