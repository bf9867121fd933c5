from typing import Any

from numpy.typing import NDArray

def dot(
    query: NDArray[Any], gallery: NDArray[Any], rows: NDArray[Any], columns: NDArray[Any], out: NDArray[Any], /
) -> None: ...
