"""OSNet again, as plain functions of a state under torchreid's names; layouts of its checkpoints, written out by hand."""

import torch
from torch.nn import functional as F

WIDTHS = {
    "1_0": (64, 256, 384, 512),
    "0_75": (48, 192, 288, 384),
    "0_5": (32, 128, 192, 256),
    "0_25": (16, 64, 96, 128),
}
AIN = {"conv2": "II", "conv3": ".I", "conv4": "I."}  # which blocks have the InstanceNorm inside


def layout(form: str, width: str, classes: int = 7) -> dict[str, tuple[int, ...]]:
    """{name: shape} of a checkpoint, with the classifier that training had."""
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name, num, running=True):
        shapes.update({f"{name}.weight": (num,), f"{name}.bias": (num,)})
        if running:
            shapes.update(
                {f"{name}.running_mean": (num,), f"{name}.running_var": (num,), f"{name}.num_batches_tracked": ()}
            )

    def light(name, num):
        shapes.update({f"{name}.conv1.weight": (num, num, 1, 1), f"{name}.conv2.weight": (num, 1, 3, 3)})
        norm(f"{name}.bn", num)

    def block(name, num_in, num_out, kind, gate):
        mid = num_out // 4
        shapes[f"{name}.conv1.conv.weight"] = (mid, num_in, 1, 1)
        norm(f"{name}.conv1.bn", mid)
        for depth in (1, 2, 3, 4):
            for layer in range(depth):
                if form == "ain":
                    light(f"{name}.conv2.{depth - 1}.layers.{layer}", mid)
                else:
                    light(f"{name}.conv2{'abcd'[depth - 1]}{f'.{layer}' if depth > 1 else ''}", mid)
        if gate == "lct":
            norm(f"{name}.gate.gn", mid, running=False)
        else:
            shapes.update({f"{name}.gate.fc1.weight": (mid // 16, mid, 1, 1), f"{name}.gate.fc1.bias": (mid // 16,)})
            shapes.update({f"{name}.gate.fc2.weight": (mid, mid // 16, 1, 1), f"{name}.gate.fc2.bias": (mid,)})
        shapes[f"{name}.conv3.conv.weight"] = (num_out, mid, 1, 1)
        if kind != "I":
            norm(f"{name}.conv3.bn", num_out)
        if num_in != num_out:
            shapes[f"{name}.downsample.conv.weight"] = (num_out, num_in, 1, 1)
            norm(f"{name}.downsample.bn", num_out)
        if kind in "IA":
            norm(f"{name}.IN", num_out, running=False)

    widths = WIDTHS[width]
    if form == "lct":
        norm("in_first", 3, running=False)
    shapes["conv1.conv.weight"] = (widths[0], 3, 7, 7)
    norm("conv1.bn", widths[0], running=form == "plain")
    for number in (2, 3, 4):
        num_in, num_out = widths[number - 2 : number]
        kinds = AIN[f"conv{number}"] if form == "ain" else "AA" if form == "ibn" and number == 2 else ".."
        block(f"conv{number}.0", num_in, num_out, kinds[0], "gate")
        block(f"conv{number}.1", num_out, num_out, kinds[1], "lct" if form == "lct" else "gate")
        if number < 4:
            name = f"pool{number}.0" if form == "ain" else f"conv{number}.2.0"
            shapes[f"{name}.conv.weight"] = (num_out, num_out, 1, 1)
            norm(f"{name}.bn", num_out)
    last, dim = widths[3], 256 if form == "lct" else 512
    shapes["conv5.conv.weight"] = (last, last, 1, 1)
    norm("conv5.bn", last)
    if form == "lct":
        shapes.update({"global_avgpool.weight": (last, 1, 16, 8), "global_avgpool.bias": (last,)})
    shapes.update({"fc.0.weight": (dim, last), "fc.0.bias": (dim,)})
    norm("fc.1", dim)
    if form == "lct":
        shapes["fc.2.weight"] = (1,)
    shapes.update({"classifier.weight": (classes, dim), "classifier.bias": (classes,)})
    return shapes


def filled(form: str, width: str) -> dict[str, torch.Tensor]:
    """A checkpoint's state with a value of its own in every entry."""
    rng = torch.Generator().manual_seed(3)
    state = {}
    for name, shape in layout(form, width).items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(5)
        elif name.endswith("running_var"):
            state[name] = 0.5 + torch.rand(shape, generator=rng)
        else:
            fan = max(1, torch.Size(shape[1:]).numel())
            scale = 0.3 if len(shape) < 2 else fan**-0.5
            state[name] = scale * torch.randn(shape, generator=rng) + (len(shape) < 2 and name.endswith("weight"))
    return state


def embed(state: dict[str, torch.Tensor], images: torch.Tensor, form: str) -> torch.Tensor:
    """(B, 3, H, W) -> (B, D), float64, in evaluation."""
    s = {name: value.double() for name, value in state.items()}

    def norm(x, name):
        shape = (1, -1, *[1] * (x.ndim - 2))
        if f"{name}.running_mean" in s:
            mean, var = s[f"{name}.running_mean"].view(shape), s[f"{name}.running_var"].view(shape)
        else:
            var, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
        return (x - mean) / (var + 1e-5).sqrt() * s[f"{name}.weight"].view(shape) + s[f"{name}.bias"].view(shape)

    def conv(x, name, **options):
        return F.conv2d(x, s[f"{name}.weight"], s.get(f"{name}.bias"), **options)

    def conv_norm(x, name, **options):
        return norm(conv(x, f"{name}.conv", **options), f"{name}.bn")

    def light(x, name):
        return norm(conv(conv(x, f"{name}.conv1"), f"{name}.conv2", padding=1, groups=x.shape[1]), f"{name}.bn").relu()

    def gate(x, name):
        pooled = x.mean(dim=(2, 3))
        if f"{name}.gn.weight" in s:
            groups = next(g for g in (16, 8, 4, 2, 1) if x.shape[1] % g == 0)
            parts = pooled.view(len(x), groups, -1)
            parts = (parts - parts.mean(2, keepdim=True)) / (parts.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
            weighed = parts.flatten(1) * s[f"{name}.gn.weight"] + s[f"{name}.gn.bias"]
        else:
            hidden = (pooled @ s[f"{name}.fc1.weight"].flatten(1).T + s[f"{name}.fc1.bias"]).clamp_min(0)
            weighed = hidden @ s[f"{name}.fc2.weight"].flatten(1).T + s[f"{name}.fc2.bias"]
        return x / (1 + torch.exp(-weighed))[:, :, None, None]

    def block(x, name):
        first = conv_norm(x, f"{name}.conv1").relu()
        total = torch.zeros_like(first)
        for depth in (1, 2, 3, 4):
            stream = first
            for layer in range(depth):
                plain = f"{name}.conv2{'abcd'[depth - 1]}{f'.{layer}' if depth > 1 else ''}"
                stream = light(stream, f"{name}.conv2.{depth - 1}.layers.{layer}" if form == "ain" else plain)
            total = total + gate(stream, f"{name}.gate")
        inside = f"{name}.conv3.bn.weight" not in s
        third = conv(total, f"{name}.conv3.conv")
        third = norm(third, f"{name}.IN") if inside else norm(third, f"{name}.conv3.bn")
        if f"{name}.downsample.conv.weight" in s:
            x = conv_norm(x, f"{name}.downsample")
        out = third + x
        if not inside and f"{name}.IN.weight" in s:
            out = norm(out, f"{name}.IN")
        return out.relu()

    x = images.double()
    if form == "lct":
        x = norm(x, "in_first")
    x = F.max_pool2d(conv_norm(x, "conv1", stride=2, padding=3).relu(), 3, stride=2, padding=1)
    for number in (2, 3, 4):
        x = block(block(x, f"conv{number}.0"), f"conv{number}.1")
        if number < 4:
            x = conv_norm(x, f"pool{number}.0" if form == "ain" else f"conv{number}.2.0").relu()
            x = (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
    x = conv_norm(x, "conv5").relu()
    if form == "lct":
        pooled = (x * s["global_avgpool.weight"][:, 0]).sum(dim=(2, 3)) + s["global_avgpool.bias"]
    else:
        pooled = x.mean(dim=(2, 3))
    out = norm(pooled @ s["fc.0.weight"].T + s["fc.0.bias"], "fc.1")
    return torch.where(out > 0, out, out * s["fc.2.weight"]) if form == "lct" else out.relu()
