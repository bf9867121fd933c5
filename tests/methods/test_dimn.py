"""DIMN as a method: composed with the baseline's losses and memory, a bank no step touches, two sides that score."""

import math

import pytest
import torch
from dimn_cases import NUM_CLASSES, batch, both, make, rows
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from reid.losses import Term
from reid.losses.circle import Circle
from reid.losses.contrastive import Contrastive
from reid.losses.softmax import Softmax
from reid.losses.triplet import Triplet
from reid.memory import CrossBatch
from reid.methods.baseline import Baseline


def everything(dim=128):
    torch.manual_seed(3)
    return [
        Term("softmax", Softmax(NUM_CLASSES, dim)),
        Term("triplet", Triplet(), weight=0.5),
        Term("circle", Circle(), weight=0.1, feature="after"),
        Term("contrastive", Contrastive()),
    ]


def test_its_own_losses_come_on_top_of_the_baselines_on_the_same_batch():
    """With every kind of loss and a cross-batch memory; the baseline's values are equal to the last digit."""
    memory = CrossBatch(size=24)
    made = make(losses=everything(), memory=memory, negatives_within_domain=True)
    plain = Baseline(made.encoder, made.terms, memory, negatives_within_domain=True)
    plain.queues = made.queues
    for seed in range(3):
        found, kept = both(made, batch(number=4, seed=seed))
        expected, plain_kept = both(plain, batch(number=4, seed=seed))
        assert found.keys() == expected.keys() | {"matching", "bank", "matching_triplet"}
        assert all(found[name].item() == loss.item() for name, loss in expected.items())
        assert plain_kept.keys() <= kept.keys()
        made.remember(kept)
    assert "contrastive_memory" in found


def test_every_loss_is_named_weighted_and_reaches_every_parameter():
    made = make()
    made.remember(both(made, batch())[1])
    losses, kept = both(made, batch(seed=1))
    assert set(losses) == {"softmax", "matching", "bank", "matching_triplet"}
    doubled = make(matching=2.0, bank=0.02, triplet=2.0)
    doubled.load_state_dict(made.state_dict())
    for name, loss in both(doubled, batch(seed=1))[0].items():
        assert loss.item() == pytest.approx((1 + (name != "softmax")) * losses[name].item(), rel=1e-5)
    sum(losses.values()).backward()
    grouped = [p for group in made.param_groups() for p in group["params"]]
    assert [group["name"] for group in made.param_groups()] == ["encoder", "softmax", "mapping"]
    assert {id(p) for p in grouped} == {id(p) for p in made.parameters() if p.requires_grad}
    assert len(grouped) == len({id(p) for p in grouped})
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in grouped)
    assert not any(value.requires_grad for value in kept.values())


def test_losses_twice_are_equal_and_leave_the_bank_untouched():
    made = make()
    made.remember(both(made, batch())[1])
    before = {key: value.clone() for key, value in made.bank.state_dict().items()}
    one, two = (both(made, batch(seed=1))[0] for _ in range(2))
    sum(one.values()).backward()
    assert {k: v.item() for k, v in one.items()} == {k: v.item() for k, v in two.items()}
    assert all(torch.equal(value, before[key]) for key, value in made.bank.state_dict().items())
    assert made.bank.rows.grad is None


def test_every_parameter_has_one_name_in_checkpoints():
    names = [name for name in make().state_dict() if "softmax" in name or "classifier" in name]
    assert names == ["losses.softmax.weight"]


@pytest.mark.parametrize("number", [2, 3])
def test_bank_after_remember_is_the_running_average_of_each_identitys_mapped_rows(number):
    made = make(momentum=0.75)
    made.remember(both(made, batch(number=number))[1])
    before = made.bank.rows.clone()
    one = batch(classes=(0, 2), number=number, seed=1)
    with torch.no_grad():
        mapped = made.mapping(made.encoder(one.images)["after"])
    made.remember(both(made, one)[1])
    for c in range(NUM_CLASSES):
        expected = before[c]
        if c in (0, 2):
            fresh = mapped[one.classes == c].mean(dim=0)
            expected = F.normalize(0.75 * before[c] + 0.25 * fresh if c == 0 else fresh, dim=0)
        assert torch.allclose(made.bank.rows[c], expected, atol=1e-6), c
    assert made.bank.stored.tolist() == [c in (0, 2, 4, 5) for c in range(NUM_CLASSES)]


def test_stop_gradient_keeps_the_gallery_picture_from_the_encoder():
    grads = []
    for stop in (False, True):
        made = make(losses=[], bank=0.0, triplet=0.0, stop_gradient=stop).eval()
        both(made, batch())[0]["matching"].backward()
        found = [p.grad.clone() for p in made.encoder.parameters() if p.grad is not None]
        made.zero_grad()
        f = made.encoder(batch().images)["after"]
        theta = made.mapping(f.detach() if stop else f)
        made.mapping_losses(f, theta, batch().classes)[0]["matching"].backward()
        expected = [p.grad for p in made.encoder.parameters() if p.grad is not None]
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, expected, strict=True))
        assert made.mapping.outer.grad.abs().sum() > 0
        grads.append(found)
    assert not all(torch.allclose(a, b) for a, b in zip(*grads, strict=True))


def test_normalised_rows_have_unit_length_in_losses_and_memory():
    for options in ({"normalize_mapped": True}, {"scale": 8.0}):
        _, kept = both(make(**options), batch())
        assert torch.allclose(kept["rows"].norm(dim=1), torch.ones(6))
    _, raw = both(make(), batch())
    assert not torch.allclose(raw["rows"].norm(dim=1), torch.ones(6), atol=0.1)


def test_scores_with_a_scale_do_not_depend_on_the_length_of_probes():
    made = make(scale=8.0)
    y = torch.tensor([4, 0, 5]).repeat_interleave(2)
    f, theta = torch.randn(6, 128), F.normalize(torch.randn(6, 128))
    one, other = (made.mapping_losses(times * f, theta, y)[0] for times in (1, 7))
    assert all(one[name].item() == pytest.approx(other[name].item(), rel=1e-5) for name in one)


def test_classifier_as_reference_learns_and_nothing_is_remembered():
    made = make(reference="classifier", bank=0.0)
    losses, kept = both(made, batch())
    assert made.bank is None
    assert "rows" not in kept
    made.remember(kept)
    (losses["matching"] + losses["matching_triplet"]).backward()
    moved = made.classifier.weight.grad.abs().sum(dim=1) > 0
    assert moved.tolist() == [c not in (4, 0, 5) for c in range(NUM_CLASSES)], "the batch's rows are the mapped ones"


def test_bank_starts_as_zeros_or_the_classifier():
    assert not make().bank.stored.any()
    made = make(bank_init="classifier")
    assert torch.allclose(made.bank.rows, F.normalize(made.classifier.weight))
    assert made.bank.stored.all()
    assert not made.bank.visited.any()


def test_bank_of_class_means_tells_identities_apart_from_the_start():
    """A net from scratch, whose BatchNorm knows nothing before it is shown the pictures: else all rows are nearly one."""
    generator = torch.Generator().manual_seed(0)
    looks = torch.randint(256, (NUM_CLASSES, 3, 8, 4), generator=generator)
    classes = torch.arange(NUM_CLASSES).repeat_interleave(6)
    coarse = (looks[classes] + torch.randint(-20, 21, (42, 3, 8, 4), generator=generator)).clamp(0, 255)
    images = coarse.repeat_interleave(4, 2).repeat_interleave(4, 3).to(torch.uint8)
    made = make(bank_init="class_means", classes=classes.numpy()).train()

    def embed(feature, indices=None):
        with torch.no_grad():
            made.encoder.eval()
            return made.encoder(images if indices is None else images[indices])[feature]

    blind = F.normalize(torch.stack([made.mapping(embed("after"))[classes == c].mean(0) for c in range(NUM_CLASSES)]))
    made.start_epoch(0, embed)
    assert made.bank.stored.all()
    assert not made.bank.visited.any()
    mapped = made.mapping(embed("after"))
    for c in range(NUM_CLASSES):
        assert torch.allclose(made.bank.rows[c], F.normalize(mapped[classes == c].mean(dim=0), dim=0), atol=1e-5)
    mean_of_blind = (blind @ blind.T).fill_diagonal_(0).sum() / (NUM_CLASSES * (NUM_CLASSES - 1))
    assert mean_of_blind > 0.8
    assert made.bank.cosine() < 0.3
    made.start_epoch(1, lambda *_: pytest.fail("embeds again"))


def test_log_tells_the_maps_size_the_banks_cosine_and_where_the_hardest_are():
    made = make()
    made.remember(both(made, batch(range(7)))[1])
    kept = both(made, batch(seed=1))[1]
    seen = made.monitor(kept)
    size = float((made.mapping.outer - torch.eye(128)).detach().norm() / math.sqrt(128))
    assert seen["mapping_size"] == pytest.approx(size, rel=1e-5)
    assert seen["bank_cosine"] == pytest.approx(made.bank.cosine())
    assert seen["hardest_outside"] == pytest.approx(kept["outside"].mean().item())
    assert 0 <= seen["hardest_outside"] <= 1


def test_bound_on_the_map_is_kept_after_every_step():
    made = make(mapping_bound=0.05)
    assert made.mapping.size() > 0.3
    made.remember(both(made, batch())[1])
    assert made.mapping.size() == pytest.approx(0.05, rel=1e-4)


def test_mapping_has_a_rate_and_a_decay_of_its_own():
    group = make(mapping_lr_factor=0.1, mapping_weight_decay=0.01).param_groups()[-1]
    assert (group["name"], group["lr_factor"], group["weight_decay"]) == ("mapping", 0.1, 0.01)
    assert "weight_decay" not in make().param_groups()[-1]


@pytest.mark.parametrize("scoring", ["cosine", "dot"])
@pytest.mark.parametrize("gallery", ["mapped", "encoder", "both"])
def test_score_is_of_the_encoded_query_and_the_gallery_as_told(scoring, gallery):
    made = make(scoring=scoring, gallery=gallery).eval()
    images = batch().images
    with torch.no_grad():
        f = made.encoder(images)["after"]
        scores = made.encode_query(images) @ made.encode_gallery(images).T
    unit = F.normalize if scoring == "cosine" else lambda x: x
    mapped, plain = unit(f) @ unit(made.mapping(f)).T, unit(f) @ unit(f).T
    expected = {"mapped": mapped, "encoder": plain, "both": (mapped + plain) / 2}[gallery]
    assert torch.allclose(scores, expected, rtol=1e-4, atol=1e-5)
    assert made.asymmetric == (gallery != "encoder")


def test_options_of_scoring_leave_the_state_as_it_is():
    kinds = [(s, g) for s in ("cosine", "dot") for g in ("mapped", "encoder", "both")]
    shapes = [
        {k: v.shape for k, v in make(scoring=s, gallery=g).state_dict().items() if v is not None} for s, g in kinds
    ]
    assert all(other == shapes[0] for other in shapes)


def test_processes_that_gather_have_the_same_bank_whoever_saw_what():
    """Two processes, one identity seen by both: each commits the rows of both, in the order of ranks or in any other."""
    halves = [both(make(), batch(classes, seed=i))[1] for i, classes in enumerate([(4, 0, 5), (0, 1, 2)])]
    for order in ([0, 1], [1, 0]):
        one, other = (make(first_visit="blend") for _ in range(2))
        gathered = {name: torch.cat([halves[i][name] for i in order]) for name in halves[0]}
        for made in (one, other):
            made.bank.fill(rows(8, dim=128)[:NUM_CLASSES].float())
            made.remember(gathered)
        assert torch.equal(one.bank.rows, other.bank.rows)
        if order == [0, 1]:
            first = one.bank.rows
    assert torch.allclose(first, one.bank.rows, atol=1e-6)
    seen = torch.cat([half["rows"][half["classes"] == 0] for half in halves])
    start = F.normalize(rows(8, dim=128)[0].float(), dim=0)
    assert torch.allclose(first[0], F.normalize(start + seen.mean(dim=0), dim=0), atol=1e-6)


def test_permuted_labels_train_to_the_same_metrics():
    order = torch.tensor([3, 6, 0, 2, 5, 1, 4])  # class c becomes order[c]
    plain, permuted = make(), make()
    with torch.no_grad():
        permuted.classifier.weight[order] = plain.classifier.weight
    for made, rename in ((plain, torch.arange(NUM_CLASSES)), (permuted, order)):
        optimizer = torch.optim.SGD(made.parameters(), lr=0.01)
        for step, classes in enumerate([(4, 0, 5), (1, 2, 3), (6, 4, 1)]):
            losses, kept = both(made, batch(rename[list(classes)].tolist(), seed=step))
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
            made.remember(kept)
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
    made = make(num_classes=3000, losses=[], unseen=unseen)
    f, classes = torch.randn(6, 128, requires_grad=True), torch.tensor([4, 0, 2999]).repeat_interleave(2)
    with _Largest() as mode:
        mapped = made._mapped(f)
        losses, outside = made.mapping_losses(f, mapped, classes)
        sum(losses.values()).backward()
        made.remember({"rows": mapped.detach(), "classes": classes, "outside": outside})
    assert mode.largest == max(128 * 128, 6 * 3000)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_and_bank_stay_in_float32_under_autocast(dtype):
    made = make(mapping="mlp")
    with torch.autocast("cpu", dtype=dtype):
        losses, kept = both(made, batch())
    assert {losses["matching"].dtype, kept["rows"].dtype, made.bank.rows.dtype} == {torch.float32}
    assert all(loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scoring": "l2"}, "SCORING: no l2; there are cosine, dot"),
        ({"gallery": "none"}, "GALLERY: no none; there are mapped, encoder, both"),
        ({"triplet_on": "cosine"}, "TRIPLET_ON: no cosine; there are probability, score"),
        ({"candidates": "camera"}, "CANDIDATES: no camera; there are all, domain"),
        ({"bank_init": "ones"}, "BANK_INIT: no ones; there are zeros, classifier, class_means"),
        ({"temperature": 0.0}, r"TEMPERATURE is 0\.0, SCALE 0\.0; expected more than 0"),
        ({"scale": -1.0}, r"SCALE -1\.0; expected more than 0, and 0 \(off\) or more"),
        ({"scale": 8.0, "temperature": 2.0}, r"SCALE is 8\.0 and TEMPERATURE 2\.0; expected one of them"),
        ({"triplet": -1.0}, r"TRIPLET is -1\.0; expected 0"),
        ({"matching": 0.0, "bank": 0.0, "triplet": 0.0}, "nothing would teach the mapping"),
        ({"losses": [], "reference": "classifier"}, "found no softmax in LOSSES; expected one"),
        ({"losses": [], "bank_init": "classifier"}, "found no softmax in LOSSES; expected one"),
        ({"momentum": 1.0}, r"MOMENTUM is 1\.0"),
        ({"first_visit": "keep"}, "FIRST_VISIT: no keep"),
        ({"mapping": "cubic"}, "MAPPING: no cubic; there are linear, residual"),
        ({"mapping_bound": -0.1}, r"MAPPING_BOUND is -0\.1; expected 0 \(none\) or more"),
        ({"mapping_lr_factor": -1.0}, r"MAPPING_LR_FACTOR is -1\.0; expected 0"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
