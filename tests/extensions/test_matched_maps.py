"""A matcher of maps from a file of its own: trained by its scores, scored with re-ranking as `reid test` does."""

import json

import numpy as np
import pytest
import torch
from evaluation import slow
from matched_maps import MatchedMaps
from tiny_run import build

from reid import checkpoint, config
from reid.builder import objects, runs
from reid.data.loader import image_batches
from reid.evaluation.rank import Ids
from reid.models.encoder import Encoder

OVERRIDES = {
    "METHOD": "{NAME: 'matched_maps:MatchedMaps'}",
    "SAMPLER": "{NAME: identity, NUM_INSTANCES: 4}",
    "LOSSES": "[]",
    "SOLVER.EPOCHS": "1",
}


@pytest.fixture(scope="module")
def trained(tiny_world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("matched")
    runs.train(build(tiny_world, folder, OVERRIDES))
    return folder


def slow_score(one, other, channels):
    """Of two maps (C, h, w), in float64, place by place."""
    places = []
    for maps in (one, other):
        flat = maps.reshape(len(channels), -1).astype(np.float64) * channels[:, None]
        places.append([column / np.linalg.norm(column) for column in flat.T])
    cosines = [[a @ b for b in places[1]] for a in places[0]]
    return (
        np.mean([max(row) for row in cosines]) + np.mean([max(column) for column in zip(*cosines, strict=True)])
    ) / 2


def test_triplet_mines_and_compares_by_the_scores():
    torch.manual_seed(0)
    method = MatchedMaps(Encoder("tiny"))
    classes = torch.arange(6) // 2
    maps = torch.randn(6, method.channels.numel(), 2, 2, dtype=torch.float64)
    scores = np.array([[slow_score(a, b, np.ones(len(a))) for b in maps.numpy()] for a in maps.numpy()])
    same = (classes[:, None] == classes).numpy()
    gaps = [row[~same[i]].max() - row[same[i] & (np.arange(6) != i)].min() for i, row in enumerate(scores)]
    expected = np.mean(np.maximum(np.array(gaps) + 0.1, 0))

    batch = type("Batch", (), {"images": maps, "classes": classes, "domains": None, "indices": None})
    method.encode_query = lambda images: images
    (loss,) = method.training_losses(batch)[0].values()
    assert loss.item() == pytest.approx(expected, abs=1e-9)
    loss.backward()
    assert method.channels.grad.abs().sum() > 0


def test_training_teaches_encoder_and_matcher(trained):
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert all(0 < line["triplet"] < 2 for line in lines)
    model = checkpoint.load(trained / "model_final.pth")["model"]
    assert (model["channels"] != 1).any()


@pytest.mark.parametrize("way", ["", "re-ranking"])
def test_a_checkpoint_is_scored_as_the_slow_loops_score_it(trained, tmp_path, way):
    rows = runs.score(None, trained / "model_final.pth", ["TEST.RERANK", "True"], output=tmp_path / "test")
    (row,) = (row for row in rows if row["kind"] == "dataset" and row.get("rescoring", "") == way)
    content = checkpoint.load(trained / "model_final.pth")
    cfg = config.parse(content["config"])
    method = objects.method(cfg, num_classes=20, num_samples=160).eval()
    checkpoint.load_state(method, content["model"], "")
    ((trial,),) = (dataset.trials for dataset in objects.targets(cfg))
    samples = [*trial.query, *trial.gallery]
    with torch.no_grad():
        (images,) = image_batches(samples, objects.test_transform(cfg), batch_size=len(samples), workers=0)
        maps = method.encode_query(images).numpy()
    channels = method.channels.detach().double().numpy()
    scores = np.array([[slow_score(one, other, channels) for other in maps] for one in maps])
    num = len(trial.query)
    scores = -slow.k_reciprocal(scores, num, 20, 6, 0.3) if way else scores[:num, num:]
    query, gallery = Ids.of(trial.query), Ids.of(trial.gallery)
    ranks = slow.searches(scores, query.pids, gallery.pids, query.camids, gallery.camids)
    cmc, mean_ap, mean_inp, num_valid = slow.figures(ranks)
    assert (row["R1"], row["num_valid"]) == (cmc[0], num_valid)
    assert (row["mAP"], row["mINP"]) == pytest.approx((mean_ap, mean_inp), abs=1e-9)


def test_a_shortlist_of_everything_is_exact_and_one_of_few_says_so(trained, tmp_path):
    def scored(first):
        overrides = ["METHOD.FIRST", str(first)]
        rows = runs.score(None, trained / "model_final.pth", overrides, output=tmp_path / str(first))
        (row,) = (row for row in rows if row["kind"] == "dataset")
        return {name: row[name] for name in ("R1", "R5", "R10", "mAP", "mINP")}, row.get("rescoring")

    exact, few, every = scored(0), scored(5), scored(1000)
    assert (exact[1], few[1], every[1]) == (None, "first 5 rescored", "first 1000 rescored")
    assert every[0] == exact[0] != few[0]
    with pytest.raises(ValueError, match=r"TEST.RERANK is True: it needs all scores, .*\(first 5 rescored\)"):
        runs.score(
            None, trained / "model_final.pth", ["METHOD.FIRST", "5", "TEST.RERANK", "True"], output=tmp_path / "no"
        )
    assert not (tmp_path / "no").exists()
