from typing import Any

from numpy.typing import NDArray

def count(scores: NDArray[Any], thresholds: NDArray[Any], counts: NDArray[Any], /) -> None: ...
def dot(
    query: NDArray[Any], gallery: NDArray[Any], rows: NDArray[Any], columns: NDArray[Any], out: NDArray[Any], /
) -> None: ...
