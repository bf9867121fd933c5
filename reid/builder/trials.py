"""Trials of a search in Optuna's storage: who begins which, what it draws, and how one that was broken off is done again."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from reid import runtime

try:
    import optuna
    import sqlalchemy
except ImportError:
    raise ValueError("--search needs optuna, which is not installed: pip install 'optuna>=5'") from None

HEARTBEAT, GRACE = 30, 120  # seconds between two signs of life; without one for so long a trial is done again
State = optuna.trial.TrialState


class Trials:
    """`num` finished trials of one search, as this process takes part in them.

    Of the trials that have not failed the first `num` count, by the numbers that the storage gives them. Where two processes
    begin the last one at a time, the one with the higher number gives up before it trains. So `num` are finished in the end, and
    whoever asks for them gets the same, however fast each was.
    """

    def __init__(self, storage: Any, name: str, seed: int, num: int):
        self.num = num
        self.study = optuna.create_study(
            storage=storage, sampler=_Sampler(seed, num), study_name=name, direction="maximize", load_if_exists=True
        )

    @property
    def finished(self) -> list[Any]:
        return [trial for trial in self.study.get_trials() if trial.state == State.COMPLETE]

    @property
    def done(self) -> bool:
        return len(self.finished) >= self.num

    def look_for_room(self) -> bool:
        """Gives up the trials of processes without a sign of life; whether one is left to begin then."""
        optuna.storages.fail_stale_trials(self.study)
        running = [trial for trial in self.study.get_trials() if trial.state == State.RUNNING]
        for trial in running:
            waiting = datetime.now() - (trial.datetime_start or datetime.now())
            if "folder" not in trial.user_attrs and waiting.total_seconds() > GRACE:
                self.study.tell(trial.number, state=State.FAIL, skip_if_finished=True)  # killed before its first sign
        return len(self.finished) + len(running) < self.num

    def take_one(self, func: Callable[[Any, str], float]) -> str | None:
        """Has `func(trial, folder)` give the value of the next one, and returns the folder's name; None where it did not count.

        One that an error or a signal ends is added again, with its options and its folder, for whoever comes next.
        """
        number, folder, ended = -1, "", False

        def objective(trial: Any) -> float:
            nonlocal number, folder, ended
            if rank(self.study, trial.number) >= self.num:
                raise _Surplus
            number, folder = trial.number, folder_of(trial)
            trial.set_user_attr("folder", folder)
            value = func(trial, folder)
            ended = True
            return value

        try:
            self.study.optimize(objective, n_trials=1, catch=(_Surplus,))
        except BaseException:
            mine = self.study.get_trials()[number] if folder else None
            if mine is None or (ended and mine.state != State.FAIL):
                raise
            if not ended:
                again(self.study, mine)
                raise
            runtime.log.warning("trial %d was taken for dead, and is done again", number)
            return None
        return folder if ended else None


class _Surplus(Exception):
    """One more trial than is needed."""


def again(study: Any, trial: Any) -> None:
    """Adds a trial with the options and the folder of this one, to be taken next."""
    kept = {"params": trial.params, "distributions": trial.distributions, "user_attrs": trial.user_attrs}
    study.add_trial(optuna.trial.create_trial(state=State.WAITING, **kept))


def folder_of(trial: Any) -> str:
    """The name of a trial's folder, which is that of the first where it is done again."""
    return trial.user_attrs.get("folder", f"trial{trial.number}")


def rank(study: Any, number: int) -> int:
    """How many trials that have not failed come before the one with this number."""
    failed = (State.FAIL, State.PRUNED)
    return sum(trial.number < number and trial.state not in failed for trial in study.get_trials(deepcopy=False))


class _Sampler(optuna.samplers.BaseSampler):
    """Optuna's TPE, seeded anew for each trial by how many there are before it, whatever became of them, one that is done again
    counted once: so a search that went on after a signal draws what an unbroken one does, and no two trials draw the same. The
    first half of the trials, at most ten, are drawn at random."""

    def __init__(self, seed: int, num: int):
        self.seed, self.num_random = seed, min(10, (num + 1) // 2)

    def before_trial(self, study: Any, trial: Any) -> None:
        before = {folder_of(other) for other in study.get_trials(deepcopy=False) if other.number < trial.number}
        seed = (self.seed + len(before)) % 2**32
        self.tpe = optuna.samplers.TPESampler(seed=seed, n_startup_trials=self.num_random)

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        return self.tpe.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Any, trial: Any, search_space: dict[str, Any]) -> dict[str, Any]:
        return self.tpe.sample_relative(study, trial, search_space)

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        return self.tpe.sample_independent(study, trial, param_name, param_distribution)


@contextlib.contextmanager
def opened(url: str) -> Iterator[Any]:
    """The storage at `url`. Raises OSError, in one line, where it cannot be reached, then or later."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # heartbeats are called that
            yield _open(url)
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError, ImportError) as error:
        cause = error.__cause__ or error
        said = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        raise OSError(
            f"--storage cannot be reached: {said}; expected the URL of a database, as SQLAlchemy has it"
        ) from error


def _open(url: str) -> Any:
    """Tried twice, as two processes may be making its tables."""
    waits = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}  # for others to let go of the file
    for last in (False, True):
        try:
            return optuna.storages.RDBStorage(
                url, waits, heartbeat_interval=HEARTBEAT, grace_period=GRACE, heartbeat_stale_trial_callback=again
            )
        except sqlalchemy.exc.DBAPIError:
            if last:
                raise
            time.sleep(1)
