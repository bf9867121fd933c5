"""DIMN's losses against a slow loop over pairs in plain numbers, and their gradients by finite differences."""

import math

import pytest
import torch
from dimn_cases import NUM_CLASSES, batch, both, make, rows, small
from torch.nn import functional as F


def slow(made, embeddings, mapped, classes):
    """The losses of every ordered pair of an identity's pictures, one after the other; and who was hardest outside."""
    f, theta, y = embeddings.tolist(), mapped.tolist(), classes.tolist()
    reference, stored = (part.tolist() for part in made._reference())
    domains = made.class_domains.tolist()
    place = [sum(c == other for other in y[:i]) for i, c in enumerate(y)]  # a picture's number among its identity's

    def score(row, probe):
        product = sum(a * b for a, b in zip(row, probe, strict=True))
        length = math.sqrt(sum(a * a for a in probe)) if made.unit_probes else 1.0
        return made.factor * product / length

    matching, triplet, bank, outside = [], [], [], [[] for _ in y]
    for probe in range(len(y)):
        for gallery in [g for g in range(len(y)) if y[g] == y[probe] and g != probe]:
            scores = {}
            for j in range(NUM_CLASSES):
                if domains[j] != domains[y[probe]]:
                    continue
                if j in y:  # the picture of identity j that has the same number as this pair's gallery picture
                    row = theta[next(g for g in range(len(y)) if y[g] == j and place[g] == place[gallery])]
                elif made.unseen == "skip" and not stored[j]:
                    continue
                else:
                    row = reference[j]
                scores[j] = score(row, f[probe])
            total = sum(math.exp(s) for s in scores.values())
            own = scores.pop(y[probe])
            matching.append(math.log(total) - own)
            hardest = max(scores, key=scores.get) if scores else None
            outside[probe].append(float(hardest is not None and hardest not in y))
            if made.triplet_on == "probability":
                other = math.exp(scores[hardest]) / total if scores else 0.0
                triplet.append(max(0.0, made.margin + other - math.exp(own) / total))
            elif scores:
                triplet.append(max(0.0, made.margin + (scores[hardest] - own) / made.factor))
            else:
                triplet.append(0.0)
            if stored[y[probe]]:
                old = reference[y[probe]]
                bank.append(sum((a - b) ** 2 for a, b in zip(theta[gallery], old, strict=True)))
    mean = [sum(values) / max(1, len(values)) for values in (matching, triplet, bank)]
    return dict(zip(("matching", "matching_triplet", "bank"), mean, strict=True)), [sum(o) / len(o) for o in outside]


OPTIONS = [
    {},
    {"temperature": 0.3},
    {"scale": 8.0},
    {"unseen": "skip"},
    {"margin": 0.1},
    {"triplet_on": "score", "margin": 0.3},
    {"triplet_on": "score", "margin": 0.3, "scale": 16.0},
    {"reference": "classifier"},
    {"reference": "classifier", "scale": 8.0},
    {"candidates": "domain", "domains": [0, 1, 0, 1, 0, 1, 0]},
    {"candidates": "domain", "domains": [0, 1, 0, 1, 0, 1, 0], "unseen": "skip", "scale": 8.0, "triplet_on": "score"},
    {"candidates": "domain", "domains": [0, 1, 2, 3, 4, 5, 6]},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("classes", [[4, 0, 5], [1, 2, 3], [6]])
@pytest.mark.parametrize("number", [2, 3, 4])
def test_losses_equal_a_slow_loop_in_float64(options, classes, number):
    made = small(**options)
    y = torch.tensor(classes).repeat_interleave(number)
    f, theta = rows(len(y)), rows(len(y), seed=1)
    expected, expected_outside = slow(made, f, theta, y)
    found, outside = made.mapping_losses(f, theta, y)
    assert {name: loss.item() for name, loss in found.items()} == pytest.approx(expected, rel=1e-10, abs=1e-12)
    assert outside.tolist() == pytest.approx(expected_outside)


def test_bank_without_a_row_of_the_batch_gives_no_bank_loss():
    y = torch.tensor([4, 0, 5]).repeat_interleave(2)
    found, _ = small(stored=()).mapping_losses(rows(), rows(seed=1), y)
    assert found["bank"].item() == 0
    assert found["matching"].item() > 0


@pytest.mark.parametrize("form", ["linear", "residual", "low_rank3", "mlp"])
@pytest.mark.parametrize("reference", ["bank", "classifier"])
@pytest.mark.parametrize("options", [{"unseen": "skip"}, {"scale": 4.0, "triplet_on": "score"}])
def test_gradients_equal_finite_differences(form, reference, options):
    made = small(reference=reference, **options)
    y = torch.tensor([4, 0, 5]).repeat_interleave(3)
    from reid.models.mapping import Mapping

    mapping = Mapping(5, form).double()
    names = [name for name, _ in mapping.named_parameters()]

    def losses(f, classifier, *weights):
        if reference == "classifier":
            made.classifier.weight = classifier
        mapped = torch.func.functional_call(mapping, dict(zip(names, weights, strict=True)), (f,))
        return tuple(made.mapping_losses(f, F.normalize(mapped) if made.unit_rows else mapped, y)[0].values())

    weights = [p.detach() + 0.2 * rows(*p.shape, seed=3) for p in mapping.parameters()]
    given = [rows(9), rows(8)[:NUM_CLASSES], *weights]
    if reference == "classifier":  # so that it is a plain tensor to write to
        del made.classifier.weight
    assert torch.autograd.gradcheck(losses, [x.requires_grad_() for x in given])


def test_a_probe_without_any_candidate_has_finite_losses_and_gradients():
    made = small(candidates="domain", domains=[0, 1, 2, 3, 4, 5, 6], unseen="skip", stored=())
    f = rows(2).requires_grad_()
    losses, _ = made.mapping_losses(f, f * 2, torch.tensor([3, 3]))
    sum(losses.values()).backward()
    assert losses["matching"].item() == pytest.approx(0, abs=1e-12)
    assert f.grad.isfinite().all()


@pytest.mark.parametrize("name", ["matching", "bank", "triplet"])
def test_weight_0_leaves_a_loss_out_and_the_others_as_they_are(name):
    every, made = make(), make(**{name: 0.0})
    made.load_state_dict(every.state_dict())
    expected = both(every, batch())[0]
    found = both(made, batch())[0]
    assert found.keys() == expected.keys() - {"matching_triplet" if name == "triplet" else name}
    assert all(found[key].item() == expected[key].item() for key in found)


@pytest.mark.parametrize("classes", [[0, 1, 0, 1], [0, 0, 1], [0, 0, 1, 1, 1], [0, 1]])
def test_batch_that_is_no_episode_is_refused(classes):
    one = batch(range(5), number=1)
    one = one.select(torch.arange(5) < len(classes))
    one.classes = torch.tensor(classes)
    with pytest.raises(ValueError, match="a batch that is no episode; expected K pictures of each identity"):
        both(make(), one)
