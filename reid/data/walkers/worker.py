"""One drawing process: `python -m reid.data.walkers.worker TREE FOLDER` with a JSON list of identities on stdin.

It prints one line for each identity it has drawn. `trees.ensure` starts as many as there are cores.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

import cv2

from reid.data import files

from . import scene, shift
from .trees import Tree


def draw(tree: Tree, folder: Path, pids: Iterable[int]) -> None:
    """Draw the pictures of these identities that are not in the folder yet, each written whole or not at all."""
    for pid in pids:
        person = scene.cast(tree.place, pid, tree.seed)
        for shot in tree.shots_of(pid):
            path = folder / shot.file
            if not path.exists():
                key = (pid, shot.number)
                image = scene.photograph(tree.place, person, shot.camid, key, (tree.height, tree.width), tree.seed)
                if tree.shifted:
                    own = (tree.seed, tree.place.key)
                    image = shift.apply(image, (*own, 4, shot.camid), (*own, 5, *key))
                fine, packed = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
                assert fine, f"OpenCV could not encode {image.shape}"
                files.write(path, packed.tobytes())
        print(pid, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is said once, by who started this
    cv2.setNumThreads(1)  # a process per core: threads on top of them only get in each other's way
    draw(Tree(**json.loads(sys.argv[1])), Path(sys.argv[2]), json.load(sys.stdin))
