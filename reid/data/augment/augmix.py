"""AugMix's mix."""

from __future__ import annotations

import numpy as np

from reid.data.augment import Augmentation, Draws, _operations, probability, within

NAMES = (
    "autocontrast",
    "equalize",
    "posterize",
    "rotate",
    "solarize",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
)
HIGHEST = 10.0  # of the scale of severities


class Augmix(Augmentation):
    """The picture mixed with the mean of some chains of one to three operations each, with random weights.

    result = (1 - m) image + m sum_i w_i chain_i(image), w ~ Dirichlet(1, ..., 1), m ~ Beta(1, 1). Each operation's level is
    uniform from 0.1 to the severity: of 10, rotation by 30 degrees, shear by 0.3, translation by a third of the side, solarize
    from 0 on and posterize to no bit; in proportion below it, whole numbers rounded down. Only the pictures are AugMix's: its
    consistency loss is not here.

    Args:    severity: 0.1 to 10. chains: 1 or more. prob: how often.
    Source:  Hendrycks et al. 2020, severity 3 and three chains; posterize keeps at least one bit.
    """

    def __init__(self, severity: float = 3.0, chains: int = 3, prob: float = 1.0) -> None:
        if int(chains) != chains or chains < 1:
            raise ValueError(f"found CHAINS {chains!r}; expected a whole number of 1 or more")
        self.severity = within("SEVERITY", severity, 0.1, HIGHEST, "0.1 to 10")
        self.chains, self.prob = int(chains), probability(prob)

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> Draws:
        """(m, (w, ((number of an operation in NAMES, its number), ...)), ...)."""
        weights = rng.dirichlet([1.0] * self.chains).tolist()
        chains = []
        for weight in weights:
            chosen = rng.integers(len(NAMES), size=int(rng.integers(1, 4))).tolist()
            chains.append((weight, tuple((number, self._value(NAMES[number], rng, size)) for number in chosen)))
        return (rng.beta(1, 1), *chains)

    def apply(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        share, *chains = draws
        mixed = (1 - share) * image.astype(np.float32)
        for weight, steps in chains:
            chain = image
            for number, value in steps:
                chain = getattr(_operations, NAMES[number])(chain, value)
            mixed += share * weight * chain
        return np.rint(mixed).astype(np.uint8)

    def _value(self, name: str, rng: np.random.Generator, size: tuple[int, int]) -> float:
        """What the operation is given for a picture of `size`, at a level and in a direction that are drawn."""
        level, sign = rng.uniform(0.1, self.severity) / HIGHEST, 1 if rng.random() < 0.5 else -1
        values = {"rotate": sign * int(30 * level), "shear_x": sign * 0.3 * level, "shear_y": sign * 0.3 * level}
        values |= {"translate_x": sign * int(size[1] / 3 * level), "translate_y": sign * int(size[0] / 3 * level)}
        return (values | {"solarize": 256 - int(256 * level), "posterize": max(1, 4 - int(4 * level))}).get(name, 0)
