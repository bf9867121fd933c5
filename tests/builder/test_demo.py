"""The demo in small: everything it promises is there, and a second call takes up what the first left."""

import cv2

from reid import config
from reid.builder import demo
from reid.builder.page import sheet

SMALL = "IDS: 8, PICTURES: 4"
WORDS = [
    *("DATASETS.SOURCES", f"[{{NAME: walkers, DOMAIN: harbour, {SMALL}}}, {{NAME: walkers, DOMAIN: campus, {SMALL}}}]"),
    *("DATASETS.TARGETS", f"[{{NAME: walkers, DOMAIN: bridge, {SMALL}}}, {{NAME: walkers, DOMAIN: square, {SMALL}}}]"),
    *("DATALOADER.BATCH_SIZE", "8", "DATALOADER.WORKERS", "0", "SOLVER.EPOCHS", "1", "SOLVER.WARMUP_STEPS", "2"),
]


def test_demo_leaves_a_table_weights_an_export_and_ranked_pictures(tmp_path, capsys):
    where = ["DATASETS.WALKERS_ROOT", str(tmp_path / "walkers"), "OUTPUT_DIR", str(tmp_path / "demo")]
    cfg = config.load("configs/demo.yaml", [*WORDS, *where])
    rows = demo.run(cfg)
    table = capsys.readouterr().out
    for words in ("16x4 pixels", "untrained encoder", "trained encoder", "walkers-bridge", "walkers-square", "mean"):
        assert words in table
    for name in ("model_final.pth", "results.jsonl", "export/model.onnx", "export/card.md", "ranked.png", "run.html"):
        assert (tmp_path / "demo" / name).is_file(), name
    height, width = cv2.imread(str(tmp_path / "demo" / "ranked.png")).shape[:2]
    assert height > 6 * sheet.TALL
    assert width > 9 * sheet.NARROWEST
    assert demo.run(cfg) == rows
