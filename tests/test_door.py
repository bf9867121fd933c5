"""What `import reid` offers, and what it costs."""

import subprocess
import sys

import pytest

import reid
from reid import losses
from reid.evaluation import rank


def test_import_loads_nothing_heavy():
    code = "import sys, reid; assert not {'torch', 'numpy', 'cv2', 'yaml'} & set(sys.modules), sorted(sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_names_are_those_behind_the_door():
    assert all(getattr(reid, name) is not None for name in reid.__all__)
    assert reid.score is rank.score
    assert reid.Ids is rank.Ids
    assert reid.losses is losses
    with pytest.raises(AttributeError, match="no attribute 'evaluate'; it offers Ids, load, losses, score, train"):
        _ = reid.evaluate


def test_train_takes_a_recipe_and_values_as_python_has_them(tiny_world, tmp_path):
    rows = reid.train(
        "configs/demo.yaml",
        {
            "DATASETS.ROOT": tiny_world,
            "DATASETS.SOURCES": [{"NAME": "folder", "PATH": "source_a"}],
            "DATASETS.TARGETS": [{"NAME": "folder", "PATH": "target"}],
            "INPUT.SIZE": (32, 16),
            "DATALOADER.BATCH_SIZE": 16,
            "DATALOADER.WORKERS": 0,
            "SOLVER.MAX_STEPS": 2,
            "SOLVER.WARMUP_STEPS": 0,
            "DEVICE": "cpu",
            "OUTPUT_DIR": tmp_path / "run",
        },
    )
    assert [row["kind"] for row in rows] == ["trial", "dataset", "mean"]
    assert rows[0]["step"] == 2
    assert reid.load(tmp_path / "run" / "model_final.pth").dim == 512
