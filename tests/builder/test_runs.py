"""Whole runs on the tiny world: what a run leaves behind, how it goes on, how it ends, and what it refuses to begin."""

import dataclasses
import json
import os
import re
import signal
from pathlib import Path

import pytest
import torch

from reid import checkpoint, config, errors, optim, step, trainer
from reid.builder import objects, runs
from reid.methods.baseline import Baseline

SOURCES = "[{NAME: folder, PATH: source_a}, {NAME: folder, PATH: source_b}]"
TARGETS = "[{NAME: folder, PATH: target}]"
WORLD = [
    "DATASETS.SOURCES",
    SOURCES,
    "DATASETS.TARGETS",
    TARGETS,
    "MODEL.BACKBONE.NAME",
    "tiny",
    "INPUT.SIZE",
    "[32, 16]",
]
WORLD += [
    "INPUT.AUGMENT.1.PAD",
    "2",
    "DATALOADER.BATCH_SIZE",
    "16",
    "DATALOADER.WORKERS",
    "0",
    "LOSSES",
    "[softmax, triplet]",
]
WORLD += [
    "SOLVER.EPOCHS",
    "2",
    "SOLVER.LOG_STEPS",
    "1",
    "DEVICE",
    "cpu",
    "MEMORY.SIZE",
    "40",
    "MODEL.NORM",
    "[input]",
]


@pytest.fixture
def cfg(tiny_world, tmp_path):
    def make(*overrides: str, folder: str = "run"):
        return config.load(
            None, [*WORLD, "DATASETS.ROOT", str(tiny_world), "OUTPUT_DIR", str(tmp_path / folder), *overrides]
        )

    return make


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_equal_runs(one: Path, other: Path):
    a, b = (checkpoint.load(p / "model_last.pth") for p in (one, other))
    assert a["model"].keys() == b["model"].keys()
    for key, value in a["model"].items():
        assert torch.equal(value, b["model"][key]) if isinstance(value, torch.Tensor) else value == b["model"][key], key
    assert str(a["optimizer"]) == str(b["optimizer"])
    for name in ("metrics.jsonl", "results.jsonl"):
        assert (one / name).read_text() == (other / name).read_text(), name


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


@pytest.fixture
def die_at(monkeypatch):
    def arm(step: int):
        steps = iter(range(10**6))
        real = optim.set_lr

        def set_lr(*args):
            if next(steps) == step:
                raise Killed
            return real(*args)

        monkeypatch.setattr(optim, "set_lr", set_lr)

    yield arm
    monkeypatch.undo()


def test_a_run_leaves_what_it_promises(cfg, tmp_path):
    rows = runs.train(cfg("TEST.EVERY", "1"))
    run = tmp_path / "run"
    names = {p.name for p in run.iterdir()}
    expected = {"config.yaml", "environment.txt", "log.txt", "metrics.jsonl", "results.jsonl"}
    assert expected | {"model_last.pth", "model_final.pth"} <= names
    assert "model_best.pth" not in names
    assert len(lines(run / "metrics.jsonl")) == 20
    results = lines(run / "results.jsonl")
    assert results[-len(rows) :] == rows
    assert [r["step"] for r in results if r["kind"] == "mean"] == [10, 20]
    assert {r["kind"] for r in rows} == {"trial", "dataset", "mean"}
    assert config.parse((run / "config.yaml").read_text()).MEMORY.SIZE == 40
    log = (run / "log.txt").read_text()
    assert "source_a train 10 ids 80 imgs 2 cams" in log
    assert "protocol" in log
    assert re.search(
        r"epoch 2/2, step 20: softmax [\d.]+, triplet [\d.]+, triplet_memory [\d.]+; [\d,]+ pictures/s, \d+% of the time waiting",
        log,
    )
    content = checkpoint.load(run / "model_final.pth")
    assert content["label_map"] == {"source_a": list(range(1, 11)), "source_b": list(range(1, 11))}


def test_scoring_the_saved_weights_gives_the_runs_last_table(cfg, tmp_path):
    trained = runs.train(cfg())
    scored = runs.score(cfg(), tmp_path / "run" / "model_final.pth")
    assert scored == trained
    assert runs.score(None, tmp_path / "run" / "model_final.pth") == trained


def test_checkpoint_is_scored_without_its_sources_on_disk(cfg, tmp_path, tiny_world):
    trained = runs.train(cfg())
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "target").symlink_to(tiny_world / "target")
    assert runs.score(None, tmp_path / "run" / "model_final.pth", ["DATASETS.ROOT", str(alone)]) == trained


@pytest.mark.parametrize("step", [0, 3, 10, 14, 19])
def test_killed_and_resumed_run_equals_an_unbroken_one(cfg, tmp_path, die_at, step):
    options = ("SOLVER.CHECKPOINT_STEPS", "4", "TEST.EVERY", "1", "SOLVER.WARMUP_STEPS", "5")
    runs.train(cfg(*options, folder="whole"))
    die_at(step)
    with pytest.raises(Killed):
        runs.train(cfg(*options))
    die_at(-1)
    rows = runs.train(cfg(*options), resume=True)
    assert rows[-1]["step"] == 20
    assert_equal_runs(tmp_path / "whole", tmp_path / "run")


def test_a_run_goes_on_from_an_older_checkpoint_that_was_kept(cfg, tmp_path):
    run, options = tmp_path / "run", ("SOLVER.CHECKPOINT_STEPS", "4", "SOLVER.KEEP", "2")
    runs.train(cfg(*options))
    last = checkpoint.load(run / "model_last.pth", resume=True)
    assert {p.name for p in run.glob("model_step*")} == {f"model_step{step}.pth" for step in (12, 16, 20)}
    assert last["processes"] == 1
    final = checkpoint.load(run / "model_final.pth")["model"]
    assert {key.split(".")[0] for key in last["model"].keys() - final.keys()} == {"queues"}, "what only training needs"
    (run / "model_last.pth").write_bytes((run / "model_step12.pth").read_bytes())
    runs.train(cfg(*options), resume=True)
    again = checkpoint.load(run / "model_last.pth", resume=True)
    assert all(
        torch.equal(value, again["model"][key]) if isinstance(value, torch.Tensor) else value == again["model"][key]
        for key, value in last["model"].items()
    )
    assert (again["progress"]["step"], again["progress"]["lengths"]) == (20, last["progress"]["lengths"])


def test_a_checkpoint_that_a_disk_has_changed_is_not_gone_on_from(cfg, tmp_path):
    runs.train(cfg("SOLVER.MAX_STEPS", "2"))
    path = tmp_path / "run" / "model_last.pth"
    whole, weights = path.read_bytes(), checkpoint.load(path)["model"]["losses.softmax.weight"]
    place = whole.index(weights.numpy().tobytes()) + 5
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
    with pytest.raises(ValueError, match=r"model_last\.pth: found content of sha256"):
        runs.train(cfg("SOLVER.MAX_STEPS", "2"), resume=True)
    with pytest.raises(ValueError, match=r"weights .*model_last\.pth: found content of sha256"):
        objects.encoder(cfg("MODEL.BACKBONE.WEIGHTS", str(path)))


def test_signal_finishes_the_step_saves_and_the_run_goes_on(cfg, tmp_path, monkeypatch):
    runs.train(cfg(folder="whole"))
    steps = iter(range(100))
    real = optim.set_lr

    def set_lr(*args):
        if next(steps) == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*args)

    monkeypatch.setattr(optim, "set_lr", set_lr)
    with pytest.raises(errors.InterruptedRun, match="SIGTERM at step 7"):
        runs.train(cfg())
    monkeypatch.undo()
    assert checkpoint.load(tmp_path / "run" / "model_last.pth")["progress"]["step"] == 7
    runs.train(cfg(), resume=True)
    assert_equal_runs(tmp_path / "whole", tmp_path / "run")


def test_nan_stops_the_run_naming_the_loss_and_the_files(cfg, tmp_path, monkeypatch):
    real = objects.find("losses", "triplet").forward
    steps = iter(range(100))
    monkeypatch.setattr(
        objects.find("losses", "triplet"), "forward", lambda *a: real(*a) * (float("nan") if next(steps) == 5 else 1)
    )
    with pytest.raises(
        trainer.NonFiniteLoss, match=r"step 3: triplet is nan; .*model_last\.pth is kept.*\.jpg"
    ) as error:
        runs.train(cfg("SOLVER.CHECKPOINT_STEPS", "2"))
    assert "softmax is" not in str(error.value)
    assert checkpoint.load(tmp_path / "run" / "model_last.pth")["progress"]["step"] == 2


def test_infinite_gradient_stops_the_run_before_the_step(cfg, monkeypatch):
    real = objects.find("losses", "softmax").forward
    monkeypatch.setattr(objects.find("losses", "softmax"), "forward", lambda *a: (real(*a) * 1e-30) * 1e38 * 1e30)
    with pytest.raises(trainer.NonFiniteLoss, match=r"gradient is (inf|nan)|softmax is inf"):
        runs.train(cfg())


def test_max_steps_ends_the_run_in_the_middle_of_an_epoch(cfg, tmp_path):
    rows = runs.train(cfg("SOLVER.MAX_STEPS", "13"))
    assert rows[-1]["step"] == 13
    assert checkpoint.load(tmp_path / "run" / "model_final.pth")["progress"]["step"] == 13


def test_source_validation_of_a_retrieval_set_goes_by_map_at_r_of_classes_kept_apart(cfg, tmp_path):
    sets = [part.replace("}", ", METRIC: retrieval}") for part in ("[{NAME: folder, PATH: source_a}]", TARGETS)]
    rows = runs.train(
        cfg(
            *("DATASETS.SOURCES", sets[0], "DATASETS.TARGETS", sets[1], "TEST.SELECT", "source_val"),
            *("TEST.EVERY", "1", "TEST.HOLD_OUT", "0.3", "TEST.CLUSTERING", "True"),
        )
    )
    results = lines(tmp_path / "run" / "results.jsonl")
    validation = [r for r in results if r["dataset"] == "source_val" and r["kind"] == "trial"]
    assert {(r["metric"], r["num_query"], r["num_gallery"]) for r in validation} == {("retrieval", 24, 24)}, (
        "3 of 10 classes"
    )
    best = checkpoint.load(tmp_path / "run" / "model_best.pth")["progress"]
    assert best["best"] == max(r["MAP@R"] for r in validation)
    assert {r["step"] for r in rows} == {best["step"]}
    assert all(0 <= r[name] <= 1 for r in rows for name in ("R@1", "MAP@R", "RP", "MRR", "NMI"))


def test_source_validation_chooses_the_best_and_scores_the_targets_with_it(cfg, tmp_path):
    rows = runs.train(cfg("TEST.SELECT", "source_val", "TEST.EVERY", "1", "TEST.HOLD_OUT", "0.3"))
    results = lines(tmp_path / "run" / "results.jsonl")
    validation = [r for r in results if r["dataset"] == "source_val" and r["kind"] == "dataset"]
    assert [r["role"] for r in validation] == ["source"] * 2
    best = checkpoint.load(tmp_path / "run" / "model_best.pth")["progress"]
    assert best["best"] == max(r["mAP"] for r in validation)
    assert {r["step"] for r in rows} == {best["step"]}
    assert [r["dataset"] for r in results if r["role"] == "target" and r["kind"] == "dataset"] == ["target"], "once"
    assert {r["selection"] for r in rows} == {"source_val"}
    assert sum(map(len, checkpoint.load(tmp_path / "run" / "model_best.pth")["label_map"].values())) == 14


def test_oracle_is_called_oracle_wherever_it_is_seen(cfg, tmp_path):
    rows = runs.train(cfg("TEST.SELECT", "oracle", "TEST.EVERY", "1"))
    assert {r["selection"] for r in rows} == {"oracle"}
    assert "oracle" in (tmp_path / "run" / "log.txt").read_text()


def test_notes_of_the_data_are_in_every_row_they_concern(cfg, tmp_path, monkeypatch):
    real = objects.datasets

    def noted(config_, entries):
        notes = {"source_b": ("source_b is withdrawn: since 2019",), "target": ("found 1 image, expected 2",)}
        return [dataclasses.replace(d, notes=notes.get(d.name, ())) for d in real(config_, entries)]

    monkeypatch.setattr(objects, "datasets", noted)
    both = ["source_b is withdrawn: since 2019", "found 1 image, expected 2"]
    rows = runs.train(cfg("SOLVER.MAX_STEPS", "2", "TEST.SELECT", "source_val", "TEST.HOLD_OUT", "0.3"))
    assert [row["notes"] for row in rows] == [both] * 3
    results = lines(tmp_path / "run" / "results.jsonl")
    assert {tuple(r["notes"]) for r in results if r["dataset"] == "source_val"} == {
        ("source_b is withdrawn: since 2019",)
    }
    monkeypatch.undo()
    # A checkpoint remembers what it was trained on.
    rows = runs.score(None, tmp_path / "run" / "model_final.pth")
    assert [row["notes"] for row in rows] == [both[:1]] * 3
    assert "trained on: source_b is withdrawn" in (tmp_path / "run" / "test" / "log.txt").read_text()


def test_what_is_frozen_belongs_to_the_protocol_in_training_and_in_scoring(cfg, tmp_path):
    frozen = ["TEST.FROZEN", "[MODEL.DIM, INPUT]", "SOLVER.MAX_STEPS", "1"]
    rows = runs.train(cfg(*frozen))
    assert "MODEL.DIM: 0" in rows[-1]["protocol"]
    assert runs.score(None, tmp_path / "run" / "model_final.pth")[0]["fingerprint"] == rows[0]["fingerprint"]
    others = [runs.train(cfg(*frozen, *more, folder=more[0]))[0] for more in (("MODEL.DIM", "8"), ("SOLVER.LR", "0.1"))]
    assert [row["fingerprint"] == rows[0]["fingerprint"] for row in others] == [False, True]


def test_protocol_in_words_is_in_the_log_and_with_the_means(cfg, tmp_path):
    rows = runs.train(cfg("SOLVER.MAX_STEPS", "2"))
    (words,) = [row["protocol"] for row in rows if row["kind"] == "mean"]
    assert words[0].startswith("source source_a (form=market): 10 ids, 80 images, lists ")
    assert "selection: last" in words
    log = (tmp_path / "run" / "log.txt").read_text()
    assert all(line in log for line in [f"protocol {rows[0]['fingerprint']}", *words])


@pytest.mark.parametrize("select", ["last", "source_val"])
def test_seeds_of_one_config_have_one_fingerprint(cfg, select):
    prints = {
        runs.train(cfg("SOLVER.MAX_STEPS", "1", "TEST.SELECT", select, "SEED", str(seed), folder=f"{seed}"))[0][
            "fingerprint"
        ]
        for seed in (0, 1)
    }
    assert len(prints) == 1


def test_folder_of_another_run_is_refused(cfg, tmp_path):
    runs.train(cfg("SOLVER.MAX_STEPS", "2"))
    before = (tmp_path / "run" / "model_last.pth").read_bytes()
    with pytest.raises(ValueError, match="already holds a run; go on with it by --resume"):
        runs.train(cfg("SOLVER.MAX_STEPS", "2"))
    with pytest.raises(ValueError, match=r"SOLVER\.LR was 0\.00035, is 0\.1"):
        runs.train(cfg("SOLVER.MAX_STEPS", "2", "SOLVER.LR", "0.1"), resume=True)
    assert (tmp_path / "run" / "model_last.pth").read_bytes() == before


def test_resuming_over_other_sources_shows_the_difference(cfg, tmp_path, tiny_world):
    runs.train(cfg("SOLVER.MAX_STEPS", "2"))
    fewer = tmp_path / "fewer"
    for name in ("source_a", "source_b", "target"):
        (fewer / name).mkdir(parents=True)
        for part in (tiny_world / name).iterdir():
            (fewer / name / part.name).mkdir()
            for file in part.iterdir():
                if name != "source_b" or not file.name.startswith("0003"):
                    os.link(file, fewer / name / part.name / file.name)
    (tmp_path / "run" / "model_final.pth").unlink()  # else nothing were left to do
    with pytest.raises(ValueError, match=r"9 ids of source_b, expected 10 as in the checkpoint \(missing: 3\)"):
        runs.train(cfg("SOLVER.MAX_STEPS", "2", "DATASETS.ROOT", str(fewer)), resume=True)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["DATASETS.TARGETS", "[]"], r"DATASETS\.TARGETS is empty"),
        (["DATASETS.SOURCES", "[]"], r"DATASETS\.SOURCES is empty"),
        (["DATASETS.TARGETS", "[market15O1]"], r"datasets: no market15O1; did you mean market1501\?"),
        (["LOSSES", "[]"], "LOSSES is empty"),
        (["DATALOADER.BATCH_SIZE", "18"], "18"),
        (["DATALOADER.BATCH_SIZE", "96"], "20"),
        (["TEST.SELECT", "best"], "no best; there are last, source_val, oracle"),
        (["SOLVER.AMP", "int8"], "no int8; there are off, bf16, fp16"),
        (["SOLVER.SCHEDULE", "poly"], "no poly; there are step, cosine, constant"),
        (["MODEL.BACKBONE.NAME", "mobilnetv2_100"], "mobilenetv2_100"),
        (["MODEL.BACKBONE.WEIGHTS", "nowhere.pth"], "nowhere.pth"),
        (["MODEL.BACKBONE.MEAN", "[0.5]"], r"found mean \[0.5\], expected one number per channel"),
        (["METHOD", "{NAME: baseline, METRIK: cosine}"], r"no option METRIK; did you mean METRIC\?"),
    ],
)
def test_bad_input_is_one_line_before_a_folder_is_made(cfg, tmp_path, overrides, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        runs.train(cfg(*overrides))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_broken_picture_is_named_before_the_run(cfg, tmp_path, tiny_world):
    copy = tmp_path / "copy"
    for name in ("source_a", "source_b", "target"):
        (copy / name).mkdir(parents=True)
        for part in (tiny_world / name).iterdir():
            (copy / name / part.name).symlink_to(part)
    train = copy / "source_a" / "bounding_box_train"
    train.unlink()
    train.mkdir()
    for file in (tiny_world / "source_a" / "bounding_box_train").iterdir():
        os.link(file, train / file.name)
    broken = train / "0002_c1s1_000001_00.jpg"
    broken.unlink()
    broken.write_bytes(b"")
    with pytest.raises(ValueError, match=r"0002_c1s1_000001_00\.jpg"):
        runs.train(cfg("DATASETS.ROOT", str(copy)))
    assert not (tmp_path / "run").exists()


def test_checkpoint_of_another_model_is_refused_by_name(cfg, tmp_path):
    runs.train(cfg("SOLVER.MAX_STEPS", "2"))
    with pytest.raises(ValueError, match=r"does not fit this config's model: .*neck"):
        runs.score(cfg("MODEL.NECK", "false"), tmp_path / "run" / "model_final.pth")


def test_pixels_stay_those_of_the_checkpoint(cfg, tmp_path):
    ours = ("MODEL.BACKBONE.MEAN", "[0.5, 0.4, 0.3]", "MODEL.NORM", "[]", "SOLVER.MAX_STEPS", "2")
    rows = runs.train(cfg(*ours))
    weights = tmp_path / "run" / "model_final.pth"
    assert checkpoint.load(weights)["model"]["encoder.mean"].flatten().tolist() == pytest.approx([0.5, 0.4, 0.3])
    assert "pixels by mean 0.5 0.4 0.3, std 0.229 0.224 0.225" in (tmp_path / "run" / "log.txt").read_text()
    plain = cfg(*ours[2:])  # which leaves them to the weights
    for again in (runs.score(None, weights), runs.score(cfg(*ours), weights), runs.score(plain, weights)):
        assert [row["mAP"] for row in again] == [row["mAP"] for row in rows]
    with pytest.raises(
        ValueError, match=r"ask for pixels by mean 0.5 0.5 0.5, .* trained by mean 0.5 0.4 0.3, .*leave"
    ):
        runs.score(None, weights, ["MODEL.BACKBONE.MEAN", "[0.5, 0.5, 0.5]"])


def test_full_disk_keeps_the_checkpoint_before(cfg, tmp_path, monkeypatch):
    runs.train(cfg("SOLVER.MAX_STEPS", "4", "SOLVER.CHECKPOINT_STEPS", "2", folder="whole"))
    saves = iter(range(100))
    real = os.fsync

    def fsync(descriptor):
        if next(saves) == 6:  # two for each file before: config, environment, the checkpoint of step 2
            raise OSError(28, "No space left on device")
        return real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    options = ("SOLVER.MAX_STEPS", "4", "SOLVER.CHECKPOINT_STEPS", "2")
    with pytest.raises(OSError, match="No space left"):
        runs.train(cfg(*options))
    monkeypatch.undo()
    assert checkpoint.load(tmp_path / "run" / "model_last.pth")["progress"]["step"] == 2
    runs.train(cfg(*options), resume=True)
    assert_equal_runs(tmp_path / "whole", tmp_path / "run")


def test_second_scoring_reads_the_embeddings_the_first_kept(cfg, tmp_path, monkeypatch):
    runs.train(cfg("SOLVER.MAX_STEPS", "2"))
    weights = tmp_path / "run" / "model_final.pth"
    assert not (tmp_path / "run" / "embeddings").exists()
    first = runs.score(cfg(), weights)
    assert list((tmp_path / "run" / "test" / "embeddings").iterdir())

    def refuse(*args, **options):
        raise AssertionError("embedded again")

    monkeypatch.setattr("reid.evaluation.sides.embed", refuse)
    assert runs.score(cfg(), weights) == first
    with pytest.raises(AssertionError, match="embedded again"):
        runs.score(cfg("TEST.CACHE", "False"), weights)


def test_rescoring_adds_its_own_rows(cfg, tmp_path):
    runs.train(cfg("SOLVER.MAX_STEPS", "2"))
    rows = runs.score(cfg("TEST.RERANK", "True", "TEST.QUERY_EXPANSION", "3"), tmp_path / "run" / "model_final.pth")
    named = [row.get("rescoring", "") for row in rows if row["kind"] == "dataset"]
    assert named == ["", "query expansion", "re-ranking"]


@pytest.mark.parametrize(("key", "value"), [("QUERY_EXPANSION", "3"), ("CLUSTERING", "True")])
def test_what_a_methods_scores_do_not_allow_is_refused_before_there_is_a_run(cfg, tmp_path, monkeypatch, key, value):
    monkeypatch.setattr(Baseline, "inner_product", False)
    for begin in (runs.train, runs.score):
        with pytest.raises(ValueError, match=rf"TEST.{key} is {value}: .* Baseline is no inner product"):
            begin(cfg(f"TEST.{key}", value))
    assert not (tmp_path / "run").exists()


def test_a_method_may_look_at_some_training_samples_or_all_before_an_epoch(cfg, monkeypatch):
    seen = []

    def start_epoch(self, epoch, embed):
        seen.append((embed("before"), embed("before", indices=[7, 0, 7]), embed(indices=[5])))

    monkeypatch.setattr(Baseline, "start_epoch", start_epoch)
    runs.train(cfg("SOLVER.EPOCHS", "1"))
    ((every, some, one),) = seen
    assert len(every) == 160
    torch.testing.assert_close(some, every[[7, 0, 7]])
    assert one.shape == every[:1].shape


def test_cache_that_is_neither_yes_nor_no_is_refused(cfg):
    with pytest.raises(ValueError, match=r"TEST\.CACHE is 'auto'"):
        runs.train(cfg("TEST.CACHE", "auto"))


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_half_precision_trains_with_every_optimiser(cfg, amp, optimizer):
    rows = runs.train(
        cfg("SOLVER.AMP", amp, "SOLVER.OPTIMIZER", optimizer, "SOLVER.CLIP_GRAD", "5.0", "SOLVER.MAX_STEPS", "4")
    )
    assert rows[-1]["step"] == 4


def test_overflow_in_fp16_skips_the_step_and_remembers_nothing(cfg, tmp_path, monkeypatch):
    """The scale starts at 2**16: made larger, the first gradients overflow; the run goes on with a smaller one."""
    monkeypatch.setattr(step.LossScale, "START", 2.0**18)
    kept = []
    method = objects.find("methods", "baseline")
    remember = method.remember
    monkeypatch.setattr(method, "remember", lambda self, fresh: (kept.append(1), remember(self, fresh))[1])
    runs.train(cfg("SOLVER.AMP", "fp16", "SOLVER.MAX_STEPS", "6"))
    assert 0 < len(kept) < 6
    content = checkpoint.load(tmp_path / "run" / "model_last.pth")
    assert content["scale"]["value"] == 2.0 ** (18 - content["progress"]["skipped"]) < 2.0**18
    assert lines(tmp_path / "run" / "metrics.jsonl")[-1]["skipped"] == content["progress"]["skipped"] == 6 - len(kept)
    assert all(v.isfinite().all() for v in content["model"].values() if isinstance(v, torch.Tensor))


def test_camera_rule_can_be_turned_off_and_the_protocol_says_so(cfg, tmp_path, tiny_world):
    """Of one camera nothing can be found with the rule; without it every query has its match, and a fingerprint of its own."""
    one = tmp_path / "one_camera"
    for part in (tiny_world / "target").iterdir():
        (one / "target" / part.name).mkdir(parents=True)
        for file in part.iterdir():
            if "_c1" in file.name:
                os.link(file, one / "target" / part.name / file.name)
    runs.train(cfg("SOLVER.MAX_STEPS", "2"))
    weights, roots = tmp_path / "run" / "model_final.pth", ["DATASETS.ROOT", str(one)]
    with pytest.raises(ValueError, match=r"single camera. TEST\.CAMERA_RULE False"):
        runs.score(None, weights, roots)
    rows = runs.score(None, weights, [*roots, "TEST.CAMERA_RULE", "False"])
    assert rows[0]["num_valid"] == rows[0]["num_query"] == 8
    assert any("camera_rule=False" in line for line in rows[-1]["protocol"])
