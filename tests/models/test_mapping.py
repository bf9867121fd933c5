"""The mapping subnet: its forms, a start that changes nothing, its size and the bound on it."""

import pytest
import torch

from reid.models.mapping import Mapping

FORMS = ["linear", "residual", "low_rank3", "mlp"]


def moved(form, dim=6):
    """A mapping away from its start, in float64."""
    torch.manual_seed(0)
    mapping = Mapping(dim, form).double()
    with torch.no_grad():
        for parameter in mapping.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return mapping


@pytest.mark.parametrize("form", FORMS)
def test_it_starts_by_changing_nothing(form):
    x = torch.randn(4, 6)
    mapping = Mapping(6, form)
    assert torch.equal(mapping(x), x)
    assert mapping.size() == 0


def test_parameters_of_each_form():
    sizes = {form: sorted(tuple(p.shape) for p in Mapping(6, form).parameters()) for form in FORMS}
    assert sizes == {
        "linear": [(6, 6)],
        "residual": [(6, 6)],
        "low_rank3": [(3, 6), (6, 3)],
        "mlp": [(6, 6), (6, 6)],
    }


@pytest.mark.parametrize("form", FORMS)
def test_values_equal_the_formula(form):
    mapping, x = moved(form), torch.randn(5, 6, dtype=torch.float64)
    outer = mapping.outer
    for row, out in zip(x, mapping(x), strict=True):
        expected = {
            "linear": lambda row=row: outer @ row,
            "residual": lambda row=row: row + outer @ row,
            "low_rank3": lambda row=row: row + outer @ (mapping.inner @ row),
            "mlp": lambda row=row: row + outer @ (mapping.inner @ row).clamp_min(0),
        }[form]()
        assert torch.allclose(out, expected, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_equal_finite_differences(form):
    mapping = moved(form)
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    parameters = tuple(mapping.parameters())
    names = [name for name, _ in mapping.named_parameters()]

    def run(x, *values):
        return torch.func.functional_call(mapping, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *parameters))


@pytest.mark.parametrize("form", FORMS)
def test_size_is_the_norm_of_the_change_and_the_bound_keeps_its_direction(form):
    mapping = moved(form)
    change = mapping.outer if mapping.inner is None else mapping.outer @ mapping.inner
    change = change - torch.eye(6) if form == "linear" else change
    assert mapping.size() == pytest.approx(float(change.detach().norm() / 6**0.5), rel=1e-9)
    mapping.limit(10.0)
    assert mapping.size() > 0.2
    mapping.limit(0.05)
    after = mapping.outer if mapping.inner is None else mapping.outer @ mapping.inner
    after = after - torch.eye(6) if form == "linear" else after
    assert mapping.size() == pytest.approx(0.05, rel=1e-9)
    assert torch.allclose(after / after.norm(), change / change.norm(), atol=1e-9)


@pytest.mark.parametrize("form", ["affine", "low_rank", "low_rankx", "", "linear2"])
def test_unknown_forms_are_refused(form):
    with pytest.raises(ValueError, match=f"MAPPING: no {form}; there are linear, residual, low_rank<r>, mlp"):
        Mapping(4, form)


@pytest.mark.parametrize("form", ["low_rank0", "low_rank5"])
def test_a_rank_outside_is_refused(form):
    with pytest.raises(ValueError, match=f"MAPPING is {form}; expected a rank of 1 to 4"):
        Mapping(4, form)
