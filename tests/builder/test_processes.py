"""Two training processes on the CPU: one run folder, equal weights and equal memories on both."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = '''
import sys
from dataclasses import replace
import torch
from torch import distributed
from reid import config, trainer
from reid.builder import runs

kept = {}
def spoilt(plan):
    """What the second process makes is not what the batches are dealt by."""
    second = plan is not None and distributed.get_rank() == 1
    return replace(plan, neighbours=plan.neighbours.flip(1)) if second else plan

real = trainer.train
def train(method, loader, *args, **options):
    kept["method"] = method
    start, epoch, seen = method.start_epoch, loader.epoch, []
    method.start_epoch = lambda *given: spoilt(start(*given))
    loader.epoch = lambda number, **given: seen.append(given["plan"]) or epoch(number, **given)
    result = real(method, loader, *args, **options)
    hashes = [None, None]
    distributed.all_gather_object(hashes, [str(plan) for plan in seen])
    assert hashes[0] == hashes[1] and len(seen) == 2
    if loader.sampler.needs:
        assert seen[0] is None and seen[1].neighbours.shape == (20, 19)
    for name, value in method.state_dict().items():
        if isinstance(value, torch.Tensor) and not name.endswith(("running_mean", "running_var", "num_batches_tracked")):
            both = [torch.empty_like(value) for _ in range(2)]
            distributed.all_gather(both, value.contiguous())
            assert torch.equal(*both), name
    if hasattr(method, "queues"):
        assert method.queues["before"].filled == 40
    return result
trainer.train = train
runs.train(config.load(sys.argv[1], sys.argv[2:]))
print("equal")
'''


METHODS = {
    "baseline": "LOSSES: [softmax, triplet]\nMEMORY: {SIZE: 40}",
    "dimn": "METHOD: {NAME: dimn, BANK_INIT: class_means}\nSAMPLER: {NAME: episode}\nLOSSES: [softmax, triplet]\nMEMORY: {SIZE: 40}",
    "ecn": "METHOD: {NAME: ecn}",
    "plan": "LOSSES: [softmax, hierarchical_triplet]\nSAMPLER: {NAME: hard_class, NUM_INSTANCES: 2}\nMEMORY: {SIZE: 40}",
}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_two_processes_keep_equal_weights_and_memories(tiny_world, tmp_path, method):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "own.yaml").write_text(f"""
DATASETS:
  ROOT: {tiny_world}
  SOURCES: [{{NAME: folder, PATH: source_a}}, {{NAME: folder, PATH: source_b}}]
  TARGETS: [{{NAME: folder, PATH: target}}]
INPUT: {{SIZE: [32, 16], AUGMENT: [flip, {{NAME: crop, PAD: 2}}]}}
DATALOADER: {{BATCH_SIZE: 16, WORKERS: 0}}
MODEL: {{BACKBONE: {{NAME: tiny}}}}
{METHODS[method]}
SOLVER: {{EPOCHS: 2, LOG_STEPS: 1}}
OUTPUT_DIR: {tmp_path / "run"}
DEVICE: cpu
""")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    result = subprocess.run(
        [*command, str(tmp_path / "script.py"), str(tmp_path / "own.yaml")], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.count("equal") == 2
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 21))
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "run" / "results.jsonl").read_text().splitlines()]
    assert kinds == ["trial", "dataset", "mean"]
