"""The picture of what pair losses do to pairs."""

import pytest
import torch

from reid.builder import weighting
from reid.losses.binomial import BinomialDeviance


def test_a_curve_is_the_weight_of_the_pair_that_moves():
    similarities = torch.tensor([-0.5, 0.9], dtype=torch.float64)
    pulled = weighting.curve(BinomialDeviance(), similarities, positive=True)
    pushed = weighting.curve(BinomialDeviance(), similarities, positive=False)
    assert pulled.tolist() == pytest.approx((-torch.sigmoid(-2 * (similarities - 0.5))).tolist())
    assert pushed.tolist() == pytest.approx((50 / 3 * torch.sigmoid(50 * (similarities - 0.5))).tolist())


def test_the_picture_is_written_with_a_panel_a_loss(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is in the extra `plot`")
    path = tmp_path / "losses.svg"
    assert weighting.draw(path, ["circle", "binomial"], points=5) == ["circle", "binomial"]
    assert path.read_text(encoding="utf-8").count('id="axes_') == 2


@pytest.mark.parametrize(("name", "message"), [("cirle", "did you mean circle"), ("softmax", "takes no pairs")])
def test_what_is_no_pair_loss_is_refused(name, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        weighting.draw(tmp_path / "losses.png", [name])
