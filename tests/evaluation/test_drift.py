"""Feature drift: each span at its own multiples, against the definition; and the picture of it."""

import json

import pytest
import torch
from torch.nn import functional as F

from reid.evaluation import drift
from reid.evaluation.drift import Drift

torch.manual_seed(0)
HISTORY = torch.randn(2001, 6, 4)  # at each step the raw embeddings of six pictures


class Encoder:
    """Gives the embeddings of the step it is told, and counts how often it is asked."""

    step = asked = 0

    def __call__(self):
        self.asked += 1
        return HISTORY[self.step]


def measure(every, steps, kept=None):
    encoder = Encoder()
    made = Drift(encoder, every)
    made.kept = kept or {}
    found = {}
    for step in steps:
        encoder.step = step
        found[step] = made.measure(step)
    return made, {step: values for step, values in found.items() if values}, encoder.asked


def test_each_span_is_measured_at_its_multiples_and_equals_the_definition():
    _, found, asked = measure(10, range(2001))
    assert asked == 201
    assert list(found) == list(range(10, 2001, 10))
    assert set(found[1000]) == {"drift_10", "drift_100", "drift_1000"}
    assert set(found[300]) == {"drift_10", "drift_100"}
    for step, values in found.items():
        for span in (10, 100, 1000):
            if step % span == 0:
                now, then = F.normalize(HISTORY[step]), F.normalize(HISTORY[step - span])
                expected = sum((a - b).norm().item() ** 2 for a, b in zip(now, then, strict=True)) / 6
                assert values[f"drift_{span}"] == pytest.approx(expected, rel=1e-5)


def test_embeddings_are_looked_at_only_where_a_span_ends():
    _, found, asked = measure(50, range(401))
    assert asked == 5
    assert list(found) == [100, 200, 300, 400]


def test_going_on_with_what_was_kept_gives_the_same_figures():
    _, whole, _ = measure(10, range(401))
    before, first, _ = measure(10, range(256))
    _, second, _ = measure(10, range(256, 401), before.kept)
    assert {**first, **second} == whole


@pytest.mark.parametrize("every", [7, -1, 2000])
def test_an_interval_that_divides_no_span_is_refused(every):
    with pytest.raises(ValueError, match=f"DRIFT.EVERY is {every}; expected 10, 100 or 1000"):
        Drift(Encoder(), every)


def write(folder, rows):
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_curves_of_a_run_and_their_picture(tmp_path):
    run = write(
        tmp_path / "run",
        [
            {"step": 10, "loss": 1.0, "memory_drift_before": 0.5, "memory_age_before": 9.0},
            {"step": 10, "drift_10": 0.3},
            {"step": 20, "drift_10": 0.2},
        ],
    )
    assert drift.curves(run) == {"memory_drift_before": [(10, 0.5)], "drift_10": [(10, 0.3), (20, 0.2)]}
    pytest.importorskip("matplotlib")
    drift.plot([run], tmp_path / "drift.svg")
    assert "10 steps" in (tmp_path / "drift.svg").read_text()
    drift.plot([run, write(tmp_path / "other", [{"step": 10, "drift_10": 0.1}])], tmp_path / "drift.png")
    assert (tmp_path / "drift.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_drawn_is_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected the folder of a run"):
        drift.plot([tmp_path], tmp_path / "a.png")
    for name, row in {"a": {"drift_10": 0.1}, "b": {"step": 1, "drift_10": "far"}, "c": [1]}.items():
        with pytest.raises(ValueError, match=r"metrics\.jsonl, line 1: "):
            drift.curves(write(tmp_path / name, [row]))
    run = write(tmp_path / "run", [{"step": 1, "loss": 1.0}])
    with pytest.raises(ValueError, match=r"found no drift; expected a run with DRIFT\.EVERY 10"):
        drift.plot([run], tmp_path / "a.png")
