"""Stores of drawn vectors, without a model."""

import numpy as np

from reid.vectors import store as stores
from reid.vectors.rows import Row, columns
from reid.vectors.store import Shard, Store


def make(folder, num=300, dim=8, shard=64, seed=0, sha256="a" * 64, listing="one", **header) -> Store:
    """`num` rows of length 1: row i of person i % 30, camera i % 4, track i % 50, time i; each ninth gave no vector."""
    rng = np.random.default_rng(seed)
    people = rng.normal(size=(30, dim))
    folder.mkdir(parents=True)
    made = Store(
        folder,
        {
            "format": stores.FORMAT,
            "version": stores.VERSION,
            "reid": "0",
            "model": {"sha256": sha256, "about": "drawn", "path": "/nowhere.pth"},
            "side": "both",
            "preprocessing": {"size": [4, 4]},
            "dim": dim,
            "terms": [{"name": "drawn", "terms": "none"}],
            "calibration": [],
            "shard": shard,
            "batch": 4,
            "inputs": [
                {
                    "root": "/pictures",
                    "listing": listing,
                    "first_frame": 1,
                    "pictures": num,
                    "shards": -(-num // shard),
                }
            ],
            **header,
        },
    )
    made.write_header()
    for number in range(-(-num // shard)):
        positions = np.arange(number * shard, min((number + 1) * shard, num))
        kept, refused = positions[positions % 9 != 8], positions[positions % 9 == 8]
        vectors = people[kept % 30] + 0.5 * rng.normal(size=(len(kept), dim))
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        rows = [Row(f"{listing}/{i:06d}.jpg", f"c{i % 4}", float(i), f"t{i % 50}", f"p{i % 30}") for i in kept.tolist()]
        said = {
            "path": [f"{listing}/{i:06d}.jpg" for i in refused],
            "person": [f"p{i % 30}" for i in refused],
            "reason": ["zero bytes"] * len(refused),
        }
        made.write(
            number,
            Shard(vectors, {"position": kept, **columns(rows)}, {k: np.array(v, str) for k, v in said.items()}),
        )
    return made


def everything(store: Store) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """All vectors, and all columns, in memory."""
    shards = [shard for _, shard in store.shards()]
    names = shards[0].columns
    return np.concatenate([s.vectors for s in shards]), {
        n: np.concatenate([s.columns[n] for s in shards]) for n in names
    }
