"""Keys that went, and what says the same now. Files and overrides with one are refused; `reid.version1` translates dumped ones."""

from __future__ import annotations

MOVED = {
    "INPUT.FLIP": "INPUT.AUGMENT: [{NAME: flip, PROB: 0.5}, ...]",
    "INPUT.PAD": "INPUT.AUGMENT: [..., {NAME: crop, PAD: 10}, ...]; as an override of the default list INPUT.AUGMENT.1.PAD",
    "INPUT.CROP_SCALE": "INPUT.AUGMENT: [{NAME: resized_crop, SCALE: [0.08, 1.0]}, ...]",
    "INPUT.COLOR_JITTER": "INPUT.AUGMENT: [..., {NAME: jitter, BRIGHTNESS: 0.3, CONTRAST: 0.3, SATURATION: 0.3, HUE: 0.1}]",
    "INPUT.JITTER_PROB": "INPUT.AUGMENT: [..., {NAME: jitter, PROB: 0.5}]",
    "INPUT.ERASING": "INPUT.AUGMENT: [..., {NAME: erasing, PROB: 0.5}]",
    "MODEL.INSTANCE_NORM": "MODEL.NORM: [input]",
}
# The same of options of a file, which its constructor no longer takes.
MOVED_OPTIONS = {
    "methods.dimn.IDENTITY": "LOSSES: [{NAME: softmax, WEIGHT: 1.0}, ...]",
    "methods.dimn.LABEL_SMOOTHING": "LOSSES: [{NAME: softmax, LABEL_SMOOTHING: 0.1}, ...]",
    **dict.fromkeys(
        ("methods.dimn.MAPPING_DEPTH", "methods.dimn.MAPPING_BIAS", "methods.dimn.MAPPING_ACTIVATION"),
        "METHOD: {NAME: dimn, MAPPING: linear | residual | low_rank32 | mlp}",
    ),
}
