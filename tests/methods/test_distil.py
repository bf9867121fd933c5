"""Distillation against a slow restatement; what a run with a teacher keeps, and which teachers are refused."""

import math

import pytest
import torch
from tiny_run import build

from reid import checkpoint
from reid.builder import objects, runs
from reid.losses import Term
from reid.losses.am_softmax import AMSoftmax
from reid.losses.softmax import Softmax
from reid.losses.triplet import Triplet
from reid.methods.baseline import Baseline
from reid.methods.distil import Distil
from reid.models.encoder import Encoder

SIMPLE = {"LOSSES": "[softmax, triplet]", "SOLVER.MAX_STEPS": "3", "SOLVER.EPOCHS": "1"}


def pair(classes=(5, 5), dims=(8, 8), loss=Softmax, **options):
    """A student and its teacher of tiny encoders with dropout nowhere: what they give depends on the picture alone."""
    made = []
    for number, (num, dim) in enumerate(zip(classes, dims, strict=True)):
        torch.manual_seed(number)
        head = loss(num, dim)
        head.weight.data = torch.randn_like(head.weight)
        made.append((Encoder("tiny", dim=dim), [Term("first", head)]))
    teacher = Baseline(*made[1]).eval().requires_grad_(False)
    return Distil(*made[0], teacher="a.pth", taught_by=teacher, **options), teacher


@pytest.mark.parametrize("loss", [Softmax, AMSoftmax])
def test_both_losses_equal_the_slow_restatement(loss):
    student, teacher = pair(loss=loss, features=0.5, scores=2.0, temperature=3.0)
    student.eval()
    images = torch.randint(0, 256, (4, 3, 32, 16), dtype=torch.uint8)
    ours, theirs = (method.encoder(images)["after"].detach().double() for method in (student, teacher))
    found = student.taught(ours.float(), images)
    gaps = [(a / a.norm() - b / b.norm()).square().sum().item() for a, b in zip(ours, theirs, strict=True)]
    assert found["teacher_features"].item() == pytest.approx(0.5 * sum(gaps) / 4, rel=1e-4)
    total = 0.0
    for a, b in zip(ours, theirs, strict=True):
        shares = []
        for row, method in ((a, student), (b, teacher)):
            weight = method.losses["first"].weight.detach().double()
            scores = [row @ w / (1 if loss is Softmax else row.norm() * w.norm() / 30) / 3 for w in weight]
            whole = sum(math.exp(s) for s in scores)
            shares.append([math.exp(s) / whole for s in scores])
        total += sum(p * (math.log(p) - math.log(q)) for q, p in zip(*shares, strict=True))
    assert found["teacher_scores"].item() == pytest.approx(2 * 9 * total / 4, rel=1e-4)


def test_of_itself_it_learns_nothing_and_the_teacher_never_moves():
    student, _ = pair()
    student.eval()
    copy = Baseline(student.encoder, student.terms).eval()
    student._teacher = (copy,)
    images = torch.randint(0, 256, (4, 3, 32, 16), dtype=torch.uint8)
    found = student.taught(student.encoder(images)["after"], images)
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {"teacher_features": 0, "teacher_scores": 0}, abs=1e-6
    )
    other, teacher = pair()
    sum(other.taught(other.encoder(images)["after"], images).values()).backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert other.losses["first"].weight.grad.any()
    assert not any("teacher" in name for name in other.state_dict())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"dims": (8, 16)},
            r"TEACHER a\.pth gives embeddings of 16, this run's encoder of 8; .*MODEL\.DIM 16, or FEATURES 0",
        ),
        ({"classes": (5, 6)}, r"TEACHER a\.pth tells 6 classes apart, this run has 5; .*or SCORES 0"),
        ({"features": 0.0, "scores": 0.0}, "FEATURES and SCORES are 0"),
        ({"loss": lambda num, dim: torch.nn.ModuleDict()}, None),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(options, message):
    if message is None:
        encoders = [Encoder("tiny", dim=8) for _ in range(2)]
        terms = [Term("triplet", Triplet())]
        with pytest.raises(
            ValueError, match="SCORES needs a class loss with scores, such as softmax; found triplet in"
        ):
            Distil(encoders[0], terms, teacher="a.pth", taught_by=Baseline(encoders[1], terms))
        return
    with pytest.raises(ValueError, match=message):
        pair(**options)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"dims": (8, 16), "features": 0.0}, "teacher_scores"),
        ({"classes": (5, 6), "scores": 0.0}, "teacher_features"),
    ],
)
def test_what_is_left_out_asks_for_nothing(options, left):
    student, _ = pair(**options)
    images = torch.randint(0, 256, (4, 3, 32, 16), dtype=torch.uint8)
    assert student.taught(student.encoder(images)["after"], images).keys() == {left}


@pytest.fixture(scope="module")
def teacher(tiny_world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "run"
    runs.train(build(tiny_world, folder, {**SIMPLE, "MODEL.DIM": "16"}))
    return folder / "model_final.pth"


def distilled(teacher, **more):
    return {**SIMPLE, "METHOD": f"{{NAME: distil, TEACHER: {teacher}}}", "MODEL.DIM": "16", **more}


def test_a_run_learns_from_a_checkpoint_goes_on_exactly_and_is_scored_without_it(tiny_world, tmp_path, teacher):
    whole, broken = (
        distilled(teacher, **{"SOLVER.MAX_STEPS": "4", "SOLVER.CHECKPOINT_STEPS": "2", "SOLVER.KEEP": "9"}),
        tmp_path / "b",
    )
    rows = runs.train(build(tiny_world, tmp_path / "a", whole))
    runs.train(build(tiny_world, broken, whole))
    (broken / "model_last.pth").write_bytes((broken / "model_step2.pth").read_bytes())
    runs.train(build(tiny_world, broken, whole), resume=True)
    one, other = (checkpoint.load(path / "model_last.pth")["model"] for path in (tmp_path / "a", broken))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert "teacher_scores" in (tmp_path / "a" / "metrics.jsonl").read_text()
    moved = tmp_path / "moved.pth"
    moved.write_bytes((tmp_path / "a" / "model_final.pth").read_bytes())
    teacher.rename(teacher.with_name("gone.pth"))
    try:
        scored = runs.score(None, moved, output=tmp_path / "scored")
    finally:
        teacher.with_name("gone.pth").rename(teacher)
    assert [row["mAP"] for row in scored] == [row["mAP"] for row in rows]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"INPUT.SIZE": "[64, 32]"},
            r"TEACHER .* was trained on pictures of \[32, 16\], INPUT\.SIZE here is \[64, 32\]",
        ),
        (
            {"DATASETS.SOURCES": "[{NAME: folder, PATH: source_a}]"},
            r"TEACHER .* knows other classes: .*; or set SCORES 0",
        ),
        ({"MODEL.DIM": "8"}, r"gives embeddings of 16, this run's encoder of 8"),
        ({"METHOD": "{NAME: distil, TEACHER: nowhere.pth}"}, r"no file nowhere\.pth"),
        ({"METHOD": "{NAME: distil}"}, "option TEACHER is needed"),
    ],
)
def test_bad_input_is_one_line_before_a_folder_is_made(tiny_world, tmp_path, teacher, more, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        runs.train(build(tiny_world, tmp_path / "run", distilled(teacher, **more)))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_the_builder_hands_over_no_teacher_where_none_is_asked_for(tiny_world, tmp_path):
    built = objects.method(build(tiny_world, tmp_path / "run", SIMPLE), num_classes=20, num_samples=160)
    assert not isinstance(built, Distil)
