"""A search is equal for every row, seeded, shared by all who take part, and its mistakes are found before anything runs."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_run

pytest.importorskip("optuna", reason="optuna is in the extra `search`")

import optuna

from reid import commands, config, errors
from reid.builder import search, space, study, trials

RATE = {"low": 1e-5, "high": 1e-2, "log": True}
SETTINGS = {"LOSSES": ["softmax", {"NAME": "triplet", "MARGIN": 0.3}], "SOLVER.LR": RATE}
STUDY = {
    "SEEDS": [0, 1],
    "CONFIG": "recipe.yaml",
    "SEARCH": {"FOLDS": 2},
    "ROWS": {"a": {"SET": SETTINGS}, "fixed": {"SET": {"LOSSES": ["softmax"]}}, "mirrored": {"OF": "a"}},
}
# Stands for `reid train`: what it gives depends on its rate alone.
TRAINS = """
import json, sys, time
from pathlib import Path
words = dict(zip(sys.argv[5::2], sys.argv[6::2]))
time.sleep(0.2)
folder = Path(words["OUTPUT_DIR"])
folder.mkdir(parents=True, exist_ok=True)
(folder / "results.jsonl").write_text(words["SOLVER.LR"])
(folder / "model_final.pth").write_text("")
"""


def words_of(job):
    """{KEY: value} of a training."""
    return dict(zip(job.words[4::2], job.words[5::2], strict=True))


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A function that writes a study beside its recipe, in a folder of its own to run in."""
    monkeypatch.chdir(tmp_path)
    return tiny_run.study_writer(tmp_path, STUDY)


@pytest.fixture
def ran(monkeypatch):
    """The trainings of all trials, none of which is run: a rate near 1e-3 is best, one above 5e-3 diverges."""
    done = []

    def fake(jobs, **_):
        done.extend(jobs)
        rate = float(words_of(jobs[0])["SOLVER.LR"])
        return [study.Failure(jobs[0], "error: loss is nan", errors.OF_OPTIONS)] if rate > 5e-3 else []

    monkeypatch.setattr(study, "run", fake)
    monkeypatch.setattr(search, "_score", lambda folder: score(float(words_of(done[-1])["SOLVER.LR"])))
    return done


def score(rate):
    return 1 / (1 + abs(rate - 1e-3) * 1e3)


def rates(jobs):
    """Of each trial, in the order in which they ran."""
    return [float(words_of(job)["SOLVER.LR"]) for job in jobs if job.folder.name == "fold0"]


def test_trials_see_each_fold_of_the_training_classes_and_no_target(written, ran):
    found = search.run(study.read(written()), 3)
    assert [*found] == ["a"], "what has no range is not searched"
    assert [job.folder.name for job in ran] == ["fold0", "fold1"] * 3
    for number, job in enumerate(ran):
        cfg = config.load(job.words[2], job.words[4:])
        assert cfg.DATASETS.TARGETS == []
        assert cfg.TEST.SELECT == "source_val"
        assert list(cfg.TEST.FOLD) == [number % 2, 2]
        assert cfg.SEED == 0
        assert job.folder.parent.name == f"trial{number // 2}"


def test_the_best_of_the_trials_is_found_and_trained_with_every_seed(written, ran):
    table = study.read(written())
    found = search.run(table, 8)
    tried = rates(ran)
    assert len(tried) == len(set(tried)) == 8
    best = max((rate for rate in tried if rate <= 5e-3), key=score)
    assert found["a"].options == {"SOLVER.LR": best}
    assert found["a"].value == score(best)
    assert found["a"].failed == sum(rate > 5e-3 for rate in tried)
    jobs = table.jobs({name: (each.tag, each.settings) for name, each in found.items()})
    assert [(job.row, job.seed) for job in jobs] == [(row, seed) for row in STUDY["ROWS"] for seed in (0, 1)]
    for job in jobs[:2]:
        cfg = config.load(job.words[2], job.words[4:])
        assert best == cfg.SOLVER.LR
        assert (cfg.TEST.SELECT, cfg.TEST.FOLD, len(cfg.DATASETS.TARGETS)) == ("last", [], 1)
    assert jobs[4].words[2] == str(jobs[0].folder / "model_final.pth"), "a row with OF scores the final run"
    assert len({job.folder for job in jobs}) == 6


def test_equal_searches_draw_the_same_and_a_finished_one_draws_no_more(written, ran):
    table = study.read(written())
    found = search.run(table, 4)
    first = rates(ran)
    assert search.run(table, 4) == found
    assert rates(ran) == first, "nothing is left to do"
    ran.clear()
    assert search.run(table, 4, "sqlite:///other.db") == found
    assert rates(ran) == first
    ran.clear()
    other = search.run(study.read(written(SEEDS=[7])), 1)
    assert rates(ran)[0] != first[0]
    assert other["a"].tag != found["a"].tag


@pytest.mark.parametrize("broken", [0, 2, 4])
def test_a_search_that_was_broken_off_goes_on_as_if_it_had_not(written, ran, monkeypatch, broken):
    table = study.read(written())
    whole = search.run(table, 5, "sqlite:///whole.db")
    expected = rates(ran)
    ran.clear()
    fake = study.run

    def ends(jobs, **options):
        if len(ran) == 2 * broken:
            raise errors.InterruptedRun(signal.SIGTERM)
        return fake(jobs, **options)

    monkeypatch.setattr(study, "run", ends)
    with pytest.raises(errors.InterruptedRun):
        search.run(table, 5)
    monkeypatch.setattr(study, "run", fake)
    assert search.run(table, 5) == whole
    assert rates(ran) == expected
    assert [job.folder.parent.name for job in ran][2 * broken] == f"trial{broken}", "in the folder that it had"


def test_what_is_not_the_options_fault_ends_the_search_and_is_tried_again(written, ran, monkeypatch):
    table = study.read(written())
    fake = study.run
    monkeypatch.setattr(study, "run", lambda jobs, **_: [study.Failure(jobs[0], "error: no such folder", 2)])
    with pytest.raises(ValueError, match=r"^a, trial 0 \(SOLVER.LR .*\): no such folder$"):
        search.run(table, 2)
    monkeypatch.setattr(study, "run", fake)
    assert len(search.run(table, 2)) == 1
    assert len(rates(ran)) == 2


def test_options_that_diverge_are_finished_trials_and_named(written, ran, monkeypatch, caplog):
    table = study.read(written(ROWS={"a": {"SET": {**SETTINGS, "SOLVER.LR": {"low": 6e-3, "high": 1e-2}}}}))
    with pytest.raises(ValueError, match="a: none of 3 trials gave a value; the first: error: loss is nan"):
        search.run(table, 3)
    assert len(rates(ran)) == 3
    assert "counts as the worst: error: loss is nan" in caplog.text


def test_everything_that_decides_the_choice_is_in_the_fingerprint(written):
    def tag(num=1, **changes):
        table = study.read(written(**changes))
        line = table.lines[0]
        return search._tag(table, line, config.load(line.recipe, line.settings), num)

    tags = [
        tag(),
        tag(num=2),
        tag(SEARCH={"FOLDS": 3}),
        tag(ROWS={"a": {"SET": {**SETTINGS, "SOLVER.LR": {**RATE, "high": 4e-3}}}}),
        tag(ROWS={"a": {"SET": {**SETTINGS, "SOLVER.LR": {**RATE, "log": False}}}}),
        tag(ROWS={"a": {"SET": {**SETTINGS, "SOLVER.LR": {"choices": [1e-3, 2e-3]}}}}),
        tag(ROWS={"a": {"SET": {**SETTINGS, "SOLVER.MAX_STEPS": 3}}}),
        tag(SET={"SOLVER.WEIGHT_DECAY": 0.1}),
    ]
    assert len(set(tags)) == len(tags)
    assert tag(SET={"DATALOADER.WORKERS": 1}) == tags[0], "which decides no number"


def test_every_kind_of_range_is_drawn_from(written, ran):
    ranges = {
        "SOLVER.LR": {"choices": [1e-3, 2e-3]},
        "LOSSES.1.MARGIN": {"low": 0.1, "high": 0.5},
        "SOLVER.WARMUP_STEPS": {"low": 1, "high": 3},
        "SOLVER.AMP": {"choices": ["off", "bf16"]},
    }
    search.run(study.read(written(ROWS={"a": {"SET": {**SETTINGS, **ranges}}})), 8)
    cfgs = [config.load(job.words[2], job.words[4:]) for job in ran]
    assert {cfg.SOLVER.LR for cfg in cfgs} == {1e-3, 2e-3}
    assert {cfg.SOLVER.WARMUP_STEPS for cfg in cfgs} == {1, 2, 3}
    assert {cfg.SOLVER.AMP for cfg in cfgs} == {"off", "bf16"}
    margins = [cfg.LOSSES[1]["MARGIN"] for cfg in cfgs]
    assert len(set(margins)) == 8
    assert min(margins) >= 0.1
    assert max(margins) <= 0.5


@pytest.mark.parametrize(
    ("key", "wanted", "message"),
    [
        ("SOLVER.LRR", RATE, "no key SOLVER.LRR"),
        ("LOSSES.1.MARGINS", {"low": 0.1, "high": 0.2}, "no option MARGINS; did you mean MARGIN"),
        ("LOSSES.7.MARGIN", {"low": 0.1, "high": 0.2}, "no entry 7"),
        ("SOLVER.LR", {"low": 1e-2, "high": 1e-5}, "found low above high, 0.01 and 1e-05; expected low below high"),
        ("SOLVER.LR", {"low": 1e-2, "high": 1e-2}, "found a constant, 0.01 and 0.01"),
        ("SOLVER.LR", {"low": 0, "high": 1e-2, "log": True}, "found low 0 with log; expected one above 0"),
        (
            "SOLVER.LR",
            {"low": 0.0, "high": 1e-2},
            r"SOLVER.LR: 0..0.01: config: SOLVER.LR is 0.0; expected a number in \(0",
        ),
        ("SOLVER.LR", {"low": 1e-5, "high": 2e3}, r"expected a number in \(0, 1000\]"),
        ("SOLVER.LR", {"low": 1e-5}, "expected numbers low and high"),
        ("SOLVER.LR", {"low": 1e-5, "high": "much"}, "expected numbers low and high"),
        ("SOLVER.LR", {"low": 1e-5, "high": 1e-2, "log": "yes"}, "log true or false"),
        ("SOLVER.LR", {"low": 1e-5, "hihg": 1e-2}, "no key hihg; did you mean high"),
        ("SOLVER.LR", {"low": 1e-5, "high": 1e-2, "choices": [1]}, "nothing beside it"),
        ("SOLVER.LR", {"choices": [1e-3]}, "expected two or more"),
        ("SOLVER.LR", {"choices": [1e-3, 1e-3]}, "expected two or more"),
        ("SOLVER.LR", {"choices": 1e-3}, "expected {choices: "),
        ("SOLVER.LR", {"choices": [1e-3, "fast"]}, "SOLVER.LR is 'fast'"),
        ("SOLVER.EPOCHS", {"low": 1.0, "high": 4.0}, "SOLVER.EPOCHS is 2.14"),
        ("LOSSES.1.MARGIN", {"low": -1.0, "high": 1.0}, r"MARGIN is -1.0; expected a number in \[0, 100\]"),
        ("SOLVER.WEIGHT_DECAY", {"low": 0.0, "high": 1.0}, "part of the protocol .TEST.FROZEN has SOLVER.WEIGHT_DECAY"),
    ],
)
def test_a_space_that_cannot_be_searched_is_one_line_before_anything_runs(written, ran, key, wanted, message):
    frozen = {"TEST.FROZEN": ["MODEL", "SOLVER.WEIGHT_DECAY"]}
    path = written(SET=frozen, ROWS={"row": {"SET": {**SETTINGS, key: wanted}}})
    with pytest.raises(ValueError, match=message) as refused:
        search.run(study.read(path), 2)
    assert "row row: " in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not ran
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("changes", "words", "message"),
    [
        ({}, [], "row a has a range for SOLVER.LR; expected --search N"),
        ({"ROWS": {"a": None}}, ["--search", "2"], "found no range in any row, so there is nothing to search"),
        (
            {},
            ["--search", "2", "SOLVER.LR", "1e-3"],
            "row a has a range for SOLVER.LR, and so an override of it means nothing",
        ),
        ({"SEARCH": {"FOLDS": 1}}, ["--search", "2"], "FOLDS is 1; expected 2 or more"),
        ({"SEARCH": {"FOLD": 2}}, ["--search", "2"], "no key FOLD; did you mean FOLDS"),
        ({"SET": {"TEST.SELECT": "oracle"}}, ["--search", "2"], "oracle peeks at the targets"),
        (
            {"ROWS": {"a": {"SET": SETTINGS}, "b": {"OF": "a", "SET": {"TEST.BATCH_SIZE": {"low": 1, "high": 2}}}}},
            ["--search", "2"],
            "row b has a range for TEST.BATCH_SIZE and trains nothing",
        ),
        (
            {},
            ["--search", "2", "--storage", "sqlite:////no/such/folder/x.db"],
            "--storage cannot be reached: .*unable to open",
        ),
        ({}, ["--search", "2", "--storage", "nonsense"], "--storage cannot be reached: Could not parse"),
        ({}, ["--search", "2", "--storage", "postgresql+nothing://a/b"], "--storage cannot be reached: "),
        ({}, ["--search", "0"], "--search is 0; expected"),
        ({}, ["--storage", "sqlite:///x.db"], "give both"),
        ({}, ["--search", "2", "--list"], "leave one out"),
    ],
)
def test_what_the_command_refuses_is_one_line(written, ran, capsys, changes, words, message):
    with pytest.raises(SystemExit) as ended:
        commands.main(["study", written(**changes), *words])
    assert ended.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(line)
    assert not ran


def test_without_optuna_the_command_says_what_to_install(written, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    for name in ("search", "trials"):
        monkeypatch.delitem(sys.modules, f"reid.builder.{name}")
        monkeypatch.delattr(f"reid.builder.{name}")
    with pytest.raises(SystemExit):
        commands.main(["study", written(), "--search", "2"])
    assert capsys.readouterr().err == "error: --search needs optuna, which is not installed: pip install 'optuna>=5'\n"


def test_a_range_shows_as_it_is_drawn_from():
    shown = [str(space.read(value, "x")) for value in (RATE, {"low": 1, "high": 8}, {"choices": [16, "a"]})]
    assert shown == ["1e-05..0.01 log", "1..8", "16 | a"]


# ---- several who take part


def test_a_trial_more_than_is_needed_gives_up_and_does_not_count(tmp_path):
    """Two that begin the last trial at a time."""
    with trials.opened(f"sqlite:///{tmp_path / 'x.db'}") as storage:
        one, other = (trials.Trials(storage, "x", 0, 2) for _ in range(2))
        began = []

        def slow(trial, folder):
            began.append(trial.number)
            if len(began) == 2:  # while the last is in hand another begins one more
                assert other.look_for_room() is False
                assert other.take_one(slow) is None
            return float(trial.number)

        assert [one.take_one(slow) for _ in range(2)] == ["trial0", "trial1"]
        assert began == [0, 1]
        assert [trial.value for trial in other.finished] == [0.0, 1.0]
        assert one.done
        assert not one.look_for_room()


def test_two_who_draw_at_a_time_do_not_draw_the_same(tmp_path):
    with trials.opened(f"sqlite:///{tmp_path / 'x.db'}") as storage:
        one, other = (trials.Trials(storage, "x", 0, 4) for _ in range(2))
        drawn = []

        def draw(trial, folder):
            drawn.append((trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)))
            if len(drawn) == 1:
                other.take_one(draw)
            return drawn[-1][0]

        one.take_one(draw)
        assert len({number for pair in drawn for number in pair}) == 4


def test_after_one_that_died_before_its_first_sign_nothing_is_drawn_twice(tmp_path):
    with trials.opened(f"sqlite:///{tmp_path / 'x.db'}") as storage:
        search, drawn = trials.Trials(storage, "x", 0, 5), []

        def draw(trial, folder):
            drawn.append(trial.suggest_float("x", 0, 1))
            return drawn[-1]

        search.take_one(draw)
        search.study.add_trial(optuna.trial.create_trial(state=trials.State.RUNNING))
        search.take_one(draw)
        search.study.tell(1, state=trials.State.FAIL)
        search.take_one(draw)
        assert len(set(drawn)) == 3


def test_a_trial_that_was_taken_for_dead_is_dropped_and_the_other_counts(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(trials, "HEARTBEAT", 60)
    monkeypatch.setattr(trials, "GRACE", 1)
    with trials.opened(f"sqlite:///{tmp_path / 'x.db'}") as storage:
        one, other = (trials.Trials(storage, "x", 0, 1) for _ in range(2))

        def stalls(trial, folder):
            drawn = trial.suggest_float("x", 0, 1)
            time.sleep(2.5)
            assert other.look_for_room()
            assert other.take_one(lambda trial, folder: trial.suggest_float("x", 0, 1) - 1) == folder
            return drawn

        assert one.take_one(stalls) is None
        (finished,) = one.finished
        assert finished.value == finished.params["x"] - 1
        assert "was taken for dead" in caplog.text


@pytest.mark.slow
def test_of_two_processes_one_is_killed_and_the_other_ends_with_every_trial(written):
    path = written(ROWS={"a": {"SET": SETTINGS}, "b": {"SET": {**SETTINGS, "LOSSES": ["softmax"]}}})
    code = f"""if True:
        from reid.builder import search, study, trials
        study.REID, search.POLL, trials.HEARTBEAT, trials.GRACE = {TRAINS!r}, 0.2, 1, 4
        search._score = lambda folder: 1 / (1 + float((folder / "results.jsonl").read_text()))
        for name, found in search.run(study.read({path!r}), 5).items():
            print(name, found.options, found.value)
    """
    Path("runs/it").mkdir(parents=True)
    killed, other = (
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)
    )
    try:
        with trials.opened("sqlite:///runs/it/search.db") as storage:
            deadline = time.monotonic() + 400
            while sum("folder" in trial.user_attrs for name in ("a", "b") for trial in all_of(storage, name)) < 3:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            killed.kill()
            told = other.communicate(timeout=400)[0]
            assert other.returncode == 0
            for name in ("a", "b"):
                assert {trial.state.name for trial in all_of(storage, name)} <= {"COMPLETE", "FAIL"}
                finished = [trial for trial in all_of(storage, name) if trial.state.name == "COMPLETE"]
                assert len(finished) == len({trial.params["SOLVER.LR"] for trial in finished}) == 5
                best = max(finished, key=lambda trial: trial.value)
                assert f"{name} {{'SOLVER.LR': {best.params['SOLVER.LR']}}} {best.value}" in told.splitlines()
    finally:
        for process in (killed, other):
            process.kill()
            process.communicate()


def all_of(storage, row):
    """Every trial of a row's search, whatever became of it."""
    return [
        t for s in storage.get_all_studies() if f"/{row}/" in s.study_name for t in storage.get_all_trials(s._study_id)
    ]


@pytest.mark.slow
def test_a_study_is_searched_trained_and_tabled(written, tiny_world, capsys):
    words = ["study", written(SEEDS=[0]), "--search", "2", "DATASETS.ROOT", str(tiny_world), "DEVICE", "cpu"]
    commands.main(words)
    told = capsys.readouterr().out
    (row,) = (line for line in told.splitlines() if line.startswith("| a "))
    assert "2 trials per row on 2 class-disjoint folds" in told
    assert "SOLVER.LR " in row
    folder = next(iter((study.read(words[1]).root / "a").iterdir()))
    assert sorted(path.name for path in folder.iterdir()) == ["seed0", "trial0", "trial1"]
    assert not [*folder.glob("trial*/**/*.pth")], "weights of trials go once they have served"
    commands.main([*words, "--table"])
    assert capsys.readouterr().out == told
