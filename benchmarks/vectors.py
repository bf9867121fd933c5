"""A model at work on many pictures: exact search from disk against faiss in memory, and embedding against the bare forward.

`search` looks for 1,000 queries in 1,000,000 rows of 512 numbers (2 GB below $TMPDIR), `search-camera` in those of one of six
cameras: the peer is `faiss.IndexFlatIP` over all rows in memory, and filters by its own bitmap. `embed` is MobileNetV2 at 256x128 with
two workers, from JPEGs to vectors on disk; the peer is the encoder's forward on the same pictures, decoded and stacked. `memory-5000` and
`memory-50000` embed so many pictures by a function that costs nothing, so that what is added is not the model's. Without --case
it takes about ten minutes on two idle cores.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import _bench
import cv2
import faiss
import numpy as np

from reid.data import transforms
from reid.export.model import Encode, Model
from reid.vectors import embed, search
from reid.vectors.rows import Row, columns
from reid.vectors.search import EVERYTHING, Filter, Found
from reid.vectors.sources import Source
from reid.vectors.store import Shard, Store

NUM, DIM, CAMERAS, QUERIES, TOP, SHARD = 1_000_000, 512, 6, 1_000, 10, 8192
PICTURES, BATCH, SIZE = 2048, 64, (256, 128)
IDENTITY = {
    "sha256": "0" * 64,
    "about": "drawn",
    "path": "",
    "preprocessing": {"size": list(SIZE)},
    "terms": [],
    "calibration": [],
}


def folder() -> Path:
    made = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, made)
    return made


def drawn_store() -> tuple[Store, np.ndarray]:
    """NUM unit rows in shards, of cameras in turn, and QUERIES others (Q, D)."""
    source = Source(Path("/drawn"), [Row("")] * NUM, lambda positions: iter(()))
    store = embed.begin(folder() / "v", source, IDENTITY, side="both", dim=DIM, shard=SHARD, batch=BATCH)
    rng = np.random.default_rng(0)
    for number, start in enumerate(range(0, NUM, SHARD)):
        positions = np.arange(start, min(start + SHARD, NUM))
        rows = [Row(f"{i:07d}.jpg", f"c{i % CAMERAS}", float(i), f"t{i // 20}") for i in positions.tolist()]
        known = {"position": positions, **columns(rows)}
        store.write(
            number,
            Shard(unit(rng, len(positions)), known, dict.fromkeys(("path", "person", "reason"), np.array([], str))),
        )
    return store, unit(rng, QUERIES)


def unit(rng: np.random.Generator, num: int) -> np.ndarray:
    rows = rng.standard_normal((num, DIM), np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def prepare_search(keep: Filter) -> tuple[Callable[[], Found], Callable[[], Found]]:
    """The peer's index is built when it is first asked for: its rows are not in the memory of ours."""
    store, queries = drawn_store()

    @functools.cache
    def index() -> tuple[faiss.IndexFlatIP, np.ndarray, np.ndarray]:
        flat, own, kept = faiss.IndexFlatIP(DIM), [], []
        for number, shard in store.shards():
            flat.add(np.ascontiguousarray(shard.vectors))
            own.append(search.ids(number, shard.columns))
            kept.append(keep.mask(shard.columns))
        return flat, np.concatenate(own), np.concatenate(kept)

    def peer() -> Found:
        flat, own, kept = index()
        bits = np.packbits(kept, bitorder="little")
        chosen = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(len(kept), faiss.swig_ptr(bits)))
        scores, places = flat.search(queries, TOP, params=None if kept.all() else chosen)
        return Found(own[places], scores)

    return lambda: search.exact(store, queries, TOP, keep), peer


def alike(ours: Found, peer: Found) -> bool:
    """The same rows, but for those whose scores are rounded to another order."""
    return bool((ours.ids == peer.ids).mean() > 0.999 and np.abs(ours.scores - peer.scores).max() < 1e-5)


def draw_pictures(num: int) -> Path:
    """JPEGs of 64x128 in folders of 1,000: 512 different ones, of which the others are links."""
    made, rng = folder(), np.random.default_rng(0)
    for i in range(num):
        path = made / f"{i // 1000:03d}" / f"{i:06d}.jpg"
        path.parent.mkdir(exist_ok=True)
        if i < 512:
            coarse = rng.integers(0, 256, (8, 4, 3)).astype(np.uint8)
            cv2.imwrite(str(path), cv2.resize(coarse, (64, 128), interpolation=cv2.INTER_CUBIC))
        else:
            os.link(made / "000" / f"{i % 512:06d}.jpg", path)
    return made


def model(encode: Encode, dim: int) -> Model:
    return Model(
        {"query": encode, "gallery": encode}, transforms.Test(SIZE), dim=dim, about="drawn", identity=lambda: IDENTITY
    )


def prepare_embed() -> tuple[Callable[[], np.ndarray], Callable[[], np.ndarray]]:
    import torch

    from reid.models.encoder import Encoder

    torch.manual_seed(0)
    encoder = Encoder("mobilenetv2_100", size=SIZE).eval().to(memory_format=torch.channels_last)
    pictures = draw_pictures(PICTURES)
    resize = transforms.Test(SIZE)
    stacked = np.stack([resize(cv2.imread(str(path))[..., ::-1]) for path in sorted(pictures.rglob("*.jpg"))])

    def encode(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return encoder(torch.from_numpy(images))["after"].numpy()

    def ours() -> np.ndarray:
        store = model(encode, encoder.dim).embed_many(pictures, folder() / "v", workers=2, batch_size=BATCH)
        return np.concatenate([shard.vectors for _, shard in store.shards()])

    def peer() -> np.ndarray:
        batches = stacked.transpose(0, 3, 1, 2)
        return np.concatenate([encode(batches[start : start + BATCH]) for start in range(0, PICTURES, BATCH)])

    return ours, peer


def prepare_memory(num: int) -> tuple[Callable[[], object], None]:
    """The first 1,280 numbers of each picture are its vector."""
    pictures = draw_pictures(num)
    cheap = model(lambda images: images.reshape(len(images), -1)[:, :1280].astype(np.float32), 1280)
    return lambda: cheap.embed_many(pictures, folder() / "v", workers=2).num_rows, None


if __name__ == "__main__":
    FLAT, FORWARD = "faiss.IndexFlatIP", "the encoder's forward"
    one = Filter(cameras=["c3"])
    CASES = [
        _bench.Case("search", FLAT, lambda: prepare_search(EVERYTHING), alike, repeats=3, share=1.25),
        _bench.Case("search-camera", FLAT, lambda: prepare_search(one), alike, repeats=3, share=1.25),
        _bench.Case("embed", FORWARD, prepare_embed, functools.partial(np.allclose, atol=1e-4), repeats=3, share=1.15),
        _bench.Case("memory-5000", None, lambda: prepare_memory(5_000), repeats=0),
        _bench.Case("memory-50000", None, lambda: prepare_memory(50_000), repeats=0),
    ]
    _bench.main(CASES, __doc__)
