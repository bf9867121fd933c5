"""Batches of any domains, and beside them some to learn from and others to test on what was learned."""

from __future__ import annotations

from reid.data.samplers.meta import Meta


class BaseAndMeta(Meta):
    """The batches of `Meta`, with one more share of the same size: identities of any domains, with the role BASE.

    Length: so many batches that the share BASE shows every picture; or `length`.

    Args and errors as those of `Meta`.
    Source: Choi et al. 2021 (MetaBIN): with 80 pictures a share, 3 domains of META_TRAIN and 2 of META_TEST.
    """

    name = "base_and_meta"
    num_base = 1

    def _epoch(self) -> int:
        return self.whole.num_batches
