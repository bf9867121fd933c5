"""OSNet against a slow restatement in float64 under torchreid's names; its checkpoints; its ONNX."""

import logging

import numpy as np
import onnxruntime
import pytest
import torch
from slow_osnet import WIDTHS, embed, filled, layout
from tiny_run import build

from reid.builder import exports, objects, runs
from reid.models import backbones
from reid.models.backbones.osnet import Osnet
from reid.models.encoder import Encoder
from reid.models.norms import Conversion
from reid.models.norms.mixstyle import Mixstyle
from reid.models.norms.stages import Stages

FORMS = ("plain", "ibn", "ain", "lct")
NAMES = [(form, width, f"osnet{'' if form == 'plain' else f'_{form}'}_x{width}") for form in FORMS for width in WIDTHS]
SIZE = {"lct": (256, 128)}  # of others any


def images(form, num=2):
    return torch.randn(num, 3, *SIZE.get(form, (64, 32)), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("form", "width", "name"), NAMES)
def test_names_and_shapes_are_those_of_the_released_checkpoints(form, width, name):
    wanted = {key: shape for key, shape in layout(form, width).items() if not key.startswith("classifier")}
    assert {key: tuple(value.shape) for key, value in backbones.build(name).state_dict().items()} == wanted


@pytest.mark.parametrize(
    ("form", "width"),
    [("plain", "0_25"), ("plain", "1_0"), ("ibn", "0_25"), ("ain", "0_5"), ("lct", "0_25"), ("lct", "0_5")],
)
def test_a_checkpoint_of_that_layout_gives_the_vectors_of_the_slow_restatement(tmp_path, form, width):
    state = filled(form, width)
    torch.save(state, tmp_path / "net.pth")
    made = backbones.build(
        f"osnet{'' if form == 'plain' else f'_{form}'}_x{width}", weights=tmp_path / "net.pth"
    ).eval()
    with torch.no_grad():
        found = made.double()(images(form).double())
    expected = embed(state, images(form), form)
    assert found.shape == (2, 1, expected.shape[1])
    torch.testing.assert_close(found[:, 0], expected, rtol=1e-9, atol=1e-9)
    assert expected.std() > 0.1


def test_what_a_trainer_leaves_beside_the_weights_is_read_safely(tmp_path, caplog):
    """As torchreid saves: wrapped names, the optimiser, the schedule, the score as a number of numpy's."""
    state = filled("plain", "0_25")
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimiser = torch.optim.Adam([parameter], amsgrad=True)
    parameter.sum().backward()
    optimiser.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [20, 40])
    content = {
        "state_dict": {f"module.{name}": value for name, value in state.items()},
        "epoch": 60,
        "rank1": np.float64(0.631),
        "optimizer": optimiser.state_dict(),
        "scheduler": schedule.state_dict(),
    }
    torch.save(content, tmp_path / "model.pth.tar-60")
    with caplog.at_level(logging.INFO):
        encoder = Encoder("osnet_x0_25", weights=str(tmp_path / "model.pth.tar-60"), neck=False).eval()
    assert "left out: classifier.weight, classifier.bias" in caplog.text
    pictures = torch.randint(0, 256, (2, 3, 64, 32), dtype=torch.uint8)
    pixels = [torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    with torch.no_grad():
        found = encoder(pictures)["after"]
    expected = embed(state, (pictures / 255 - pixels[0]) / pixels[1], "plain")
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


def test_weights_of_another_width_are_refused(tmp_path):
    torch.save(filled("plain", "0_25"), tmp_path / "net.pth")
    with pytest.raises(
        ValueError, match=r"do not fit backbone osnet_x0_5: .*conv1\.conv\.weight is \(16, 3, 7, 7\), expected"
    ):
        backbones.build("osnet_x0_5", weights=tmp_path / "net.pth")


def test_the_file_alone_is_the_widest_and_a_wrong_name_is_answered_with_the_nearest():
    assert backbones.build("osnet").state_dict().keys() == backbones.build("osnet_x1_0").state_dict().keys()
    with pytest.raises(ValueError, match=r"no 'osnet_x0_2' .*near it: osnet_x0_25"):
        backbones.build("osnet_x0_2")


@pytest.mark.parametrize("form", FORMS)
def test_every_weight_learns_and_one_picture_is_enough_to_be_scored(form):
    torch.manual_seed(0)
    net = backbones.build(f"osnet{'' if form == 'plain' else f'_{form}'}_x0_25").train()
    net(images(form, 4)).square().sum().backward()
    # Not of gates: at this width a gate's layer between is one number, which may be below 0, and a group of LCT's first is
    # one channel, whose scale multiplies nothing.
    still = {name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()}
    assert {name for name in still if ".gate." not in name} == set()
    with torch.no_grad():
        both, one = net.eval()(images(form)), net(images(form)[:1])
    torch.testing.assert_close(both[:1], one, rtol=1e-4, atol=1e-5)


def test_places_of_conversions_are_its_stages():
    for conversion, places in ((Mixstyle(after=["conv2", "conv3"]), ["conv2", "conv3"]), (Stages(), None)):
        assert isinstance(conversion, Conversion)
        found = conversion.convert(backbones.build("osnet_ain_x0_25"))
        assert found == (places or ["conv2", "conv3", "conv4"][: len(found)])


@pytest.mark.parametrize("wrong", [{"width": 0.3}, {"form": "ibn_b"}])
def test_another_width_or_form_is_refused(wrong):
    with pytest.raises(
        ValueError, match=r"osnet: found width .* and form .*; expected one of 1\.0, 0\.75, 0\.5, 0\.25 and of plain, "
    ):
        Osnet(**wrong)


RUN = {
    "MODEL.BACKBONE.NAME": "osnet_x0_25",
    "LOSSES": "[softmax, triplet]",
    "SOLVER.MAX_STEPS": "2",
    "INPUT.SIZE": "[64, 32]",
}


def test_a_run_is_trained_scored_and_its_onnx_gives_its_vectors(tiny_world, tmp_path):
    cfg = build(tiny_world, tmp_path / "run", RUN)
    runs.train(cfg)
    exports.export(tmp_path / "run" / "model_final.pth", tmp_path / "export")
    session = onnxruntime.InferenceSession(tmp_path / "export" / "model.onnx", providers=["CPUExecutionProvider"])
    _, method, _ = exports._restore(tmp_path / "run" / "model_final.pth")
    pictures = torch.randint(0, 256, (3, 3, 64, 32), dtype=torch.uint8)
    given = (pictures / 255 - method.encoder.mean) / method.encoder.std
    with torch.no_grad():
        expected = method.eval().encode_query(pictures).numpy()
    (found,) = session.run(["embeddings"], {"images": given.numpy()})
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"MODEL.BACKBONE.NAME": "osnet_lct_x0_25"},
            r"INPUT\.SIZE is \[64, 32\]; backbone osnet_lct_x0_25 takes \[256, 128\] alone",
        ),
        (
            {"MODEL.BACKBONE.LAST_STRIDE": "1"},
            "osnet_x0_25: last_stride 1 needs a feature map, and it gives tokens; use 2",
        ),
        ({"MODEL.POOLING": "gem"}, "pooling: found 'gem' for a backbone that gives tokens, expected avg"),
        ({"MODEL.BACKBONE.WEIGHTS": "timm"}, "osnet_x0_25 is none of timm's networks"),
    ],
)
def test_bad_input_is_one_line(tiny_world, tmp_path, overrides, message):
    with pytest.raises(ValueError, match=message):
        objects.encoder(build(tiny_world, tmp_path / "run", {**RUN, **overrides}))
