"""Loggers: one file each; where the figures of a training go besides `metrics.jsonl`. LOGGERS of a config names them."""

from __future__ import annotations


class Logger:
    """What a training tells of itself while it runs, to whatever shows it. It changes nothing of the run.

    It is made once the run has its folder, by the first process alone. A constructor may ask for `folder`, the run's Path;
    `config`, the run's config as YAML; and `step`, the steps taken before: above 0 where a run is gone on with, whose earlier
    steps were noted already and whose later ones, if any, are taken again.
    """

    def note(self, row: dict[str, float]) -> None:
        """A logged step: `step`, `epoch`, the losses, `lr`, `grad_norm` and so on, as in `metrics.jsonl`, with the seconds of
        the step (`step_s`) and of waiting for its pictures (`data_s`). Called in the midst of training: it should be quick.
        """
        raise NotImplementedError

    def finish(self) -> None:
        """The training has ended, by itself or by an error."""
