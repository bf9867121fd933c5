from typing import Any

from numpy.typing import NDArray

def count(scores: NDArray[Any], thresholds: NDArray[Any], counts: NDArray[Any], /) -> None: ...
