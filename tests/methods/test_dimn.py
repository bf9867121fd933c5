"""DIMN: each loss against a slow loop, gradients by finite differences, a bank no step touches, two sides that score."""

import math

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from reid.data.loader import Batch
from reid.methods.dimn import DIMN
from reid.models.encoder import Encoder

NUM_CLASSES = 7


def make(num_classes: int = NUM_CLASSES, **options) -> DIMN:
    torch.manual_seed(0)
    return DIMN(Encoder("tiny"), num_classes, **{"mapping_start": "random", **options})


def batch(classes=(4, 0, 5), seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor(classes).repeat_interleave(2)
    images = torch.randint(256, (len(labels), 3, 32, 16), generator=generator, dtype=torch.uint8)
    zeros = torch.zeros_like(labels)
    return Batch(images, labels, zeros, zeros, zeros, zeros, zeros, ["x"] * len(labels))


def rows(num_pairs: int = 3, dim: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(2 * num_pairs, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small(stored=(0, 1, 4, 6), **options) -> DIMN:
    """Seven identities in five dimensions of float64, some of their rows stored."""
    made = make(**options)
    if made.bank is not None:
        made.bank.rows = F.normalize(rows(4)[:NUM_CLASSES])
        made.bank.seen = torch.zeros(NUM_CLASSES, dtype=torch.bool)
        made.bank.seen[list(stored)] = True
        made.bank.rows[~made.bank.seen] = 0
    else:
        made.classifier.weight = torch.nn.Parameter(rows(4)[:NUM_CLASSES])
    return made


def slow(embeddings, mapped, classes, reference, stored, margin=0.8, temperature=1.0, skip=False):
    """The losses of 2P pairs, one after the other, in plain numbers."""
    f, theta, y = embeddings.tolist(), mapped.tolist(), classes.tolist()
    matching, triplet, bank = [], [], []
    for probe, gallery in [(p, p ^ 1) for p in range(len(y))]:
        scores = {}
        for j in range(NUM_CLASSES):
            row = reference[j].tolist()
            if j in y:  # the gallery picture of identity j, which plays the same role as this pair's
                row = theta[next(g for g in range(gallery % 2, len(y), 2) if y[g] == j)]
            elif skip and not stored[j]:
                continue
            scores[j] = math.exp(sum(a * b for a, b in zip(row, f[probe], strict=True)) / temperature)
        total = sum(scores.values())
        own = scores[y[probe]] / total
        matching.append(-math.log(own))
        hardest = max(score / total for j, score in scores.items() if j != y[probe])
        triplet.append(max(0.0, margin + hardest - own))
        if stored[y[probe]]:
            old = reference[y[probe]].tolist()
            bank.append(sum((a - b) ** 2 for a, b in zip(theta[gallery], old, strict=True)))
    mean = [sum(values) / max(1, len(values)) for values in (matching, triplet, bank)]
    return dict(zip(("matching", "triplet", "bank"), mean, strict=True))


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.3}, {"unseen": "skip"}, {"margin": 0.1}, {"reference": "classifier"}]
)
@pytest.mark.parametrize("classes", [[4, 0, 5], [1, 2, 3], [6, 4, 1]])
def test_losses_equal_a_slow_loop_in_float64(options, classes):
    made = small(**options)
    f, theta, y = rows(), rows(seed=1), torch.tensor(classes).repeat_interleave(2)
    reference, stored = made._reference()
    settings = {k: v for k, v in options.items() if k in ("temperature", "margin")}
    expected = slow(f, theta, y, reference, stored, skip=options.get("unseen") == "skip", **settings)
    found = made.matching_losses(f, theta, y)
    assert {name: loss.item() for name, loss in found.items()} == pytest.approx(expected, rel=1e-12)


def test_bank_without_a_row_of_the_batch_gives_no_bank_loss():
    found = small(stored=()).matching_losses(rows(), rows(seed=1), torch.tensor([4, 0, 5]).repeat_interleave(2))
    assert found["bank"].item() == 0
    assert found["matching"].item() > 0


@pytest.mark.parametrize("reference", ["bank", "classifier"])
@pytest.mark.parametrize("unseen", ["zero", "skip"])
def test_gradients_equal_finite_differences(reference, unseen):
    made = small(reference=reference, unseen=unseen)
    y = torch.tensor([4, 0, 5]).repeat_interleave(2)

    def losses(f, weight, classifier):
        if reference == "classifier":
            made.classifier.weight = classifier
        return tuple(made.matching_losses(f, f @ weight.T, y).values())

    given = [rows(), rows(dim=5, seed=2)[:5], rows(4)[:NUM_CLASSES]]
    if reference == "classifier":  # so that it is a plain tensor to write to
        del made.classifier.weight
    assert torch.autograd.gradcheck(losses, [x.requires_grad_() for x in given])


def test_the_four_losses_are_weighted_and_named_and_reach_every_parameter():
    made = make()
    made.remember(made.training_losses(batch())[1])
    losses, fresh = made.training_losses(batch(seed=1))
    assert set(losses) == {"identity", "matching", "bank", "triplet"}
    doubled = make(identity=2.0, matching=2.0, bank=0.02, triplet=2.0)
    doubled.load_state_dict(made.state_dict())
    for name, loss in doubled.training_losses(batch(seed=1))[0].items():
        assert loss.item() == pytest.approx(2 * losses[name].item(), rel=1e-5)
    sum(losses.values()).backward()
    grouped = [p for group in made.param_groups() for p in group["params"]]
    assert [group["name"] for group in made.param_groups()] == ["encoder", "mapping", "identity"]
    assert len(grouped) == len({id(p) for p in grouped})
    assert {id(p) for p in grouped} == {id(p) for p in made.parameters() if p.requires_grad}
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in grouped)
    assert not any(value.requires_grad for value in fresh.values())


@pytest.mark.parametrize("name", ["identity", "matching", "bank", "triplet"])
def test_weight_0_leaves_a_loss_out_and_the_others_as_they_are(name):
    every, made = make(), make(**{name: 0.0})
    made.load_state_dict(every.state_dict(), strict=False)
    expected = every.training_losses(batch())[0]
    found = made.training_losses(batch())[0]
    assert found.keys() == expected.keys() - {name}
    assert all(found[key].item() == expected[key].item() for key in found)
    assert (made.classifier is None) == (name == "identity")


def test_losses_twice_are_equal_and_leave_the_bank_untouched():
    made = make()
    made.remember(made.training_losses(batch())[1])
    before = {key: value.clone() for key, value in made.bank.state_dict().items()}
    one, two = (made.training_losses(batch(seed=1))[0] for _ in range(2))
    sum(one.values()).backward()
    assert {k: v.item() for k, v in one.items()} == {k: v.item() for k, v in two.items()}
    assert all(torch.equal(value, before[key]) for key, value in made.bank.state_dict().items())
    assert made.bank.rows.grad is None


def test_bank_after_remember_is_the_running_average_of_each_identitys_two_mapped_rows():
    made = make(momentum=0.75)
    made.remember(made.training_losses(batch())[1])
    before = made.bank.rows.clone()
    one = batch(classes=(0, 2), seed=1)
    with torch.no_grad():
        mapped = made.mapping(made.encoder(one.images)["after"])
    made.remember(made.training_losses(one)[1])
    for c in range(NUM_CLASSES):
        expected = before[c]
        if c in (0, 2):
            first = [0, 2].index(c) * 2
            blend = 0.75 * before[c] + 0.25 * (mapped[first] + mapped[first + 1]) / 2
            expected = blend / blend.norm()
        assert torch.allclose(made.bank.rows[c], expected, atol=1e-6), c
    assert made.bank.seen.tolist() == [c in (0, 2, 4, 5) for c in range(NUM_CLASSES)]


def test_stop_gradient_keeps_the_gallery_picture_from_the_encoder():
    """With rows of its own the probe's embedding is all that is left of the encoder in the matching loss."""
    grads = []
    for stop in (False, True):
        made = make(identity=0.0, bank=0.0, triplet=0.0, stop_gradient=stop).eval()
        images = batch().images
        made.training_losses(batch())[0]["matching"].backward()
        found = [p.grad.clone() for p in made.encoder.parameters() if p.grad is not None]
        made.zero_grad()
        f = made.encoder(images)["after"]
        theta = made.mapping(f.detach() if stop else f)
        made.matching_losses(f, theta, batch().classes)["matching"].backward()
        expected = [p.grad for p in made.encoder.parameters() if p.grad is not None]
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, expected, strict=True))
        assert made.mapping[0].weight.grad.abs().sum() > 0
        grads.append(found)
    assert not all(torch.allclose(a, b) for a, b in zip(*grads, strict=True))


def test_normalised_rows_have_unit_length_in_losses_and_memory():
    _, fresh = make(normalize_mapped=True).training_losses(batch())
    assert torch.allclose(fresh["rows"].norm(dim=1), torch.ones(6))
    _, raw = make().training_losses(batch())
    assert not torch.allclose(raw["rows"].norm(dim=1), torch.ones(6), atol=0.1)


def test_classifier_as_reference_learns_and_nothing_is_remembered():
    made = make(reference="classifier", identity=1e-9)
    losses, fresh = made.training_losses(batch())
    assert (made.bank, fresh) == (None, {})
    made.remember(fresh)
    (losses["matching"] + losses["triplet"]).backward()
    moved = made.classifier.weight.grad.abs().sum(dim=1) > 0
    assert moved.tolist() == [c not in (4, 0, 5) for c in range(NUM_CLASSES)], "the batch's rows are the mapped ones"


def test_bank_starts_as_zeros_the_classifier_or_class_means():
    assert not make().bank.seen.any()
    made = make(bank_init="classifier")
    assert torch.allclose(made.bank.rows, F.normalize(made.classifier.weight))
    features = rows(dim=128, num_pairs=7).float()
    classes = torch.arange(14) % NUM_CLASSES
    made = make(bank_init="class_means", classes=classes.numpy()).train()
    made.start_epoch(0, lambda feature: features if feature == "before" else None)
    assert made.training
    assert made.bank.seen.all()
    with torch.no_grad():
        mapped = made.mapping(made.encoder.neck.eval()(features))
    for c in range(NUM_CLASSES):
        assert torch.allclose(made.bank.rows[c], F.normalize(mapped[classes == c].mean(dim=0), dim=0), atol=1e-6)
    made.start_epoch(1, lambda feature: pytest.fail("embeds again"))


@pytest.mark.parametrize("scoring", ["cosine", "dot"])
@pytest.mark.parametrize("gallery", ["mapped", "encoder"])
@pytest.mark.parametrize("normalize_mapped", [False, True])
def test_score_is_of_the_encoded_query_and_the_mapped_gallery(scoring, gallery, normalize_mapped):
    made = make(scoring=scoring, gallery=gallery, normalize_mapped=normalize_mapped).eval()
    images = batch().images
    with torch.no_grad():
        f = made.encoder(images)["after"]
        side = f if gallery == "encoder" else made.mapping(f)
        scores = made.encode_query(images) @ made.encode_gallery(images).T
    expected = f @ side.T if scoring == "dot" else F.normalize(f) @ F.normalize(side).T
    assert torch.allclose(scores, expected, rtol=1e-4, atol=1e-5)
    assert made.asymmetric == (gallery == "mapped")


def test_options_of_scoring_leave_the_state_as_it_is():
    shapes = [{k: v.shape for k, v in make(scoring=s, gallery=g).state_dict().items()} for s in ("cosine", "dot") for g in ("mapped", "encoder")]  # fmt: skip
    assert all(other == shapes[0] for other in shapes)


def test_processes_that_gather_have_the_same_bank_whoever_saw_what():
    """Two processes, one identity seen by both: each commits the rows of both, in the order of ranks or in any other."""
    halves = [make().training_losses(batch(classes, seed=i))[1] for i, classes in enumerate([(4, 0, 5), (0, 1, 2)])]
    for order in ([0, 1], [1, 0]):
        one, other = make(), make()
        gathered = {name: torch.cat([halves[i][name] for i in order]) for name in halves[0]}
        for made in (one, other):
            made.bank.fill(rows(4, dim=128)[:NUM_CLASSES].float())
            made.remember(gathered)
        assert torch.equal(one.bank.rows, other.bank.rows)
        if order == [0, 1]:
            first = one.bank.rows
    assert torch.allclose(first, one.bank.rows, atol=1e-6)
    both = torch.cat([half["rows"][half["classes"] == 0] for half in halves])
    start = F.normalize(rows(4, dim=128)[0].float(), dim=0)
    assert torch.allclose(first[0], F.normalize(start + both.mean(dim=0), dim=0), atol=1e-6)


def test_permuted_labels_train_to_the_same_metrics():
    order = torch.tensor([3, 6, 0, 2, 5, 1, 4])  # class c becomes order[c]
    plain, permuted = make(), make()
    with torch.no_grad():
        permuted.classifier.weight[order] = plain.classifier.weight
    for made, rename in ((plain, torch.arange(NUM_CLASSES)), (permuted, order)):
        optimizer = torch.optim.SGD(made.parameters(), lr=0.01)
        for step, classes in enumerate([(4, 0, 5), (1, 2, 3), (6, 4, 1)]):
            losses, fresh = made.training_losses(batch(rename[list(classes)].tolist(), seed=step))
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
            made.remember(fresh)
    assert torch.allclose(permuted.bank.rows[order], plain.bank.rows, atol=1e-4)
    plain.eval(), permuted.eval()
    query, gallery = batch(range(7), seed=8).images, batch(range(7), seed=9).images
    with torch.no_grad():
        a, b = (made.encode_query(query) @ made.encode_gallery(gallery).T for made in (plain, permuted))
    assert torch.allclose(a, b, atol=1e-4)
    assert torch.equal(a.argmax(dim=1), b.argmax(dim=1))


class _Largest(TorchDispatchMode):
    """The number of values in the largest tensor that any operation made anew."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        held = {x.untyped_storage().data_ptr() for x in args if isinstance(x, torch.Tensor)}
        for made in result if isinstance(result, tuple) else (result,):
            if isinstance(made, torch.Tensor) and made.untyped_storage().data_ptr() not in held:
                self.largest = max(self.largest, made.numel())
        return result


@pytest.mark.parametrize("unseen", ["zero", "skip"])
def test_nothing_of_the_size_of_the_bank_is_ever_made(unseen):
    made = make(num_classes=900, identity=0.0, unseen=unseen)
    f = torch.randn(6, 128, requires_grad=True)
    with _Largest() as mode:
        mapped = made._mapped(f)
        losses = made.matching_losses(f, mapped, torch.tensor([4, 0, 899]).repeat_interleave(2))
        sum(losses.values()).backward()
        made.remember({"rows": mapped.detach(), "classes": torch.tensor([4, 0, 899]).repeat_interleave(2)})
    assert mode.largest == max(128 * 128, 6 * 900)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_and_bank_stay_in_float32_under_autocast(dtype):
    made = make(mapping_depth=2)
    with torch.autocast("cpu", dtype=dtype):
        losses, fresh = made.training_losses(batch())
    assert {losses["matching"].dtype, fresh["rows"].dtype, made.bank.rows.dtype} == {torch.float32}
    assert all(loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scoring": "l2"}, "SCORING: no l2; there are cosine, dot"),
        ({"bank_init": "ones"}, "BANK_INIT: no ones; there are zeros, classifier, class_means"),
        ({"temperature": 0.0}, r"TEMPERATURE is 0\.0; expected more than 0"),
        ({"triplet": -1.0}, r"TRIPLET is -1\.0; expected 0"),
        ({"matching": 0.0, "bank": 0.0, "triplet": 0.0}, "nothing would teach the mapping"),
        ({"identity": 0.0, "reference": "classifier"}, "IDENTITY is 0"),
        ({"momentum": 1.0}, r"MOMENTUM is 1\.0"),
        ({"mapping_depth": 0}, "MAPPING_DEPTH is 0"),
        ({"mapping_activation": "sine"}, "MAPPING_ACTIVATION: no sine; there are relu"),
        ({"mapping_start": "ones"}, "MAPPING_START: no ones; there are identity, random"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.mark.parametrize("classes", [[0, 1, 0, 1], [0, 0, 1]])
def test_batch_that_is_not_of_pairs_is_refused(classes):
    one = batch(range(4))
    one.images, one.classes = one.images[: len(classes)], torch.tensor(classes)
    with pytest.raises(ValueError, match="not of pairs; expected those of SAMPLER episode"):
        make().training_losses(one)
