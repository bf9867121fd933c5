"""The command `reid`: `reid train`, `reid test` and so on. Each file here is one command, its docstring the help.

A command has `parse(parser, words)`, which adds its arguments and reads them, and `run(args)`. Only `run` imports anything
heavy, so that help and mistakes are answered at once.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import reid
from reid import errors

NAME = "dg-reid"  # of the distribution; PyPI has another one called reid, which gives the same import name


def names() -> list[str]:
    """The commands, sorted; files that help them start with `_`."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def main(words: Sequence[str] | None = None) -> None:
    """Runs the command that `words` (the program's own arguments unless given) begin with."""
    words = list(sys.argv[1:] if words is None else words)
    if words[:1] and words[0] in names():
        module = _command(words[0])
        parser = _parser(f"reid {words[0]}", module.__doc__)
        args = module.parse(parser, words[1:])
        sys.path.append("")  # plug-ins may lie in the working folder; last, so that it shadows nothing
        with errors.in_one_line():
            _look_for_another_reid()
            module.run(args)
        return
    told = [f"  {name:10} {(_command(name).__doc__ or '').splitlines()[0]}" for name in names()]
    parser = _parser("reid", reid.__doc__, "\n".join(["commands (each has its own --help):", *told]))
    parser.add_argument("--version", action="version", version=f"{NAME} {reid.__version__}")
    parser.add_argument("command", metavar="COMMAND", choices=names(), help="and its words")
    parser.parse_args(words[:1])


def _command(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


def _parser(program: str, text: str | None, epilog: str | None = None) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=program, description=text, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def _look_for_another_reid() -> None:
    """Says that another distribution gives the import name `reid` as well. Raises ValueError where both share a folder."""
    from importlib import metadata

    try:
        other = metadata.distribution("reid")
    except metadata.PackageNotFoundError:
        return
    place, ours = Path(str(other.locate_file("reid"))), Path(reid.__file__).parent
    if not (place / "__init__.py").is_file():
        return  # it has no files of its own there, as an editable installation has none
    found = f"found the distribution reid {other.version} in {place}"
    if place.resolve() == ours.resolve():
        raise ValueError(
            f"{found}, mixed with the files of {NAME}; expected one of the two: pip uninstall reid {NAME}, then install one"
        )
    print(f"note: {found}, which is not this program; a script that imports reid may get that one", file=sys.stderr)
