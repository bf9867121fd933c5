"""A plan holds what it says, in the shapes that samplers and losses count on."""

import pytest
import torch

from reid.plan import Plan


def test_a_plan_names_what_it_holds():
    assert Plan().given == frozenset()
    whole = Plan(torch.zeros(5, dtype=torch.int64), torch.zeros(3, 3), torch.zeros(3, 2, dtype=torch.int64))
    assert whole.given == {"parts", "distances", "neighbours"}
    assert Plan(**vars(whole)) == whole, "as a checkpoint keeps it"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("parts", torch.zeros(5)),
        ("parts", torch.zeros(5, 1, dtype=torch.int64)),
        ("distances", torch.zeros(3, 3, dtype=torch.float64)),
        ("distances", torch.zeros(3, 2)),
        ("neighbours", torch.zeros(3, 2, dtype=torch.int32)),
        ("neighbours", torch.zeros(3, 2, dtype=torch.int64, device="meta")),
    ],
)
def test_other_shapes_types_and_devices_are_refused_in_one_line(name, value):
    with pytest.raises(ValueError, match=f"plan: found {name} .*; expected") as error:
        Plan(**{name: value})
    assert "\n" not in str(error.value)
