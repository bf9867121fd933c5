"""The bank of identities against a loop over its rows."""

import pytest
import torch

from reid.memory import IdentityBank


def unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.norm()


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_updates_equal_a_loop(momentum):
    generator = torch.Generator().manual_seed(0)
    bank = IdentityBank(9, 4, momentum)
    expected = [torch.zeros(4)] * 9
    for _ in range(5):
        classes = torch.randint(9, (6,), generator=generator)  # of some identities several rows
        rows = torch.randn(6, 4, generator=generator)
        bank.update(rows, classes)
        for c in set(classes.tolist()):
            expected[c] = unit(momentum * expected[c] + (1 - momentum) * rows[classes == c].mean(dim=0))
    assert torch.allclose(bank.rows, torch.stack(expected), atol=1e-6)
    assert bank.stored.tolist() == [bool(row.any()) for row in expected]


def test_in_turn_each_row_is_blended_into_what_the_one_before_has_left():
    generator = torch.Generator().manual_seed(0)
    bank = IdentityBank(5, 4, 0.2, first_visit="blend", in_turn=True)
    start = torch.randn(5, 4, generator=generator)
    bank.fill(start)
    expected = [unit(row) for row in start]
    classes, rows = torch.tensor([3, 0, 3, 1, 3, 0]), torch.randn(6, 4, generator=generator)
    bank.update(rows, classes)
    for c, row in zip(classes.tolist(), rows, strict=True):
        expected[c] = unit(0.2 * expected[c] + 0.8 * row)
    assert torch.allclose(bank.rows, torch.stack(expected), atol=1e-6)
    mean = IdentityBank(5, 4, 0.2, first_visit="blend")
    mean.fill(start)
    mean.update(rows, classes)
    assert not torch.allclose(bank.rows, mean.rows, atol=0.01)


def test_order_of_the_rows_does_not_matter():
    rows, classes = torch.randn(8, 3), torch.tensor([2, 0, 2, 1, 0, 2, 2, 1])
    order = torch.randperm(8)
    one, other = IdentityBank(4, 3), IdentityBank(4, 3)
    one.update(rows, classes)
    other.update(rows[order], classes[order])
    assert torch.allclose(one.rows, other.rows, atol=1e-6)


def test_first_visit_takes_the_rows_direction_and_others_stay_zero():
    bank = IdentityBank(3, 2)
    bank.update(torch.tensor([[3.0, 4.0]]), torch.tensor([1]))
    assert torch.allclose(bank.rows, torch.tensor([[0.0, 0.0], [0.6, 0.8], [0.0, 0.0]]))
    assert bank.stored.tolist() == [False, True, False]


def test_half_precision_is_stored_as_float32_and_a_zero_row_stays_finite():
    bank = IdentityBank(2, 2)
    bank.update(torch.tensor([[1.0, 2.0], [0.0, 0.0]], dtype=torch.bfloat16, requires_grad=True), torch.arange(2))
    assert bank.rows.dtype == torch.float32
    assert not bank.rows.requires_grad
    assert bank.rows.isfinite().all()


def test_fill_brings_all_rows_to_unit_length_and_state_carries_them():
    bank, copy = IdentityBank(3, 2), IdentityBank(3, 2)
    bank.fill(torch.tensor([[3.0, 4.0], [0.1, 0.0], [0.0, -9.0]]))
    copy.load_state_dict(bank.state_dict())
    assert torch.allclose(copy.rows, torch.tensor([[0.6, 0.8], [1.0, 0.0], [0.0, -1.0]]))
    assert copy.stored.all()


def test_momentum_that_would_never_learn_is_refused():
    with pytest.raises(ValueError, match=r"MOMENTUM is 1\.0; expected 0 \(the newest row\) up to"):
        IdentityBank(2, 2, 1.0)


@pytest.mark.parametrize(("first_visit", "expected"), [("replace", [0.0, 1.0]), ("blend", [0.9, 0.1])])
def test_first_visit_after_a_fill_replaces_the_row_or_blends_with_it(first_visit, expected):
    bank = IdentityBank(2, 2, momentum=0.9, first_visit=first_visit)
    bank.fill(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    assert not bank.visited.any()
    bank.update(torch.tensor([[0.0, 5.0 if first_visit == "replace" else 1.0]]), torch.tensor([1]))
    assert torch.allclose(bank.rows[1], unit(torch.tensor(expected)))
    assert bank.visited.tolist() == [False, True]
    bank.update(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))  # the second visit blends in both
    assert torch.allclose(bank.rows[1], unit(0.9 * unit(torch.tensor(expected)) + torch.tensor([0.1, 0.0])))


def test_cosine_is_the_mean_over_pairs_of_stored_rows():
    bank = IdentityBank(6, 3)
    rows = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    bank.update(rows, torch.tensor([0, 2, 3, 5]))
    units = [unit(row) for row in rows]
    pairs = [float(units[i] @ units[j]) for i in range(4) for j in range(i)]
    assert bank.cosine() == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)
    assert IdentityBank(3, 2).cosine() == 0


def test_unknown_first_visit_is_refused():
    with pytest.raises(ValueError, match="FIRST_VISIT: no keep; there are replace, blend"):
        IdentityBank(2, 2, first_visit="keep")
