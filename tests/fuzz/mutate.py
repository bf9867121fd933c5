"""Files as an accident or a stranger leaves them: a tree with one part changed, bytes with some of them changed."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from hypothesis import strategies as st

from reid import errors

VALUES = [
    *(None, True, False, 0, 1, -1, 3, 2**31, 2**70, 0.5, -1.5, 1e308, math.inf, math.nan),
    *("", "x", "../x", "a\nb\x1b[31m", "1e3", "null", [], [None], [0, 0], [[]], {}, {"NAME": "x"}, {"": {}}),
]
TENSORS = [torch.zeros(0), torch.zeros(2, 3), torch.full((1,), math.nan), torch.arange(4), torch.zeros(1).expand(2**40)]


@st.composite
def tree(draw, content, values=VALUES):
    """`content`, nested dicts and lists, with one or two of its parts replaced, removed, or added to."""
    changed = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 2))):
        holders = [node for node in nodes(changed) if isinstance(node, (dict, list)) and node]
        if not holders:
            break
        holder = draw(st.sampled_from(holders))
        key = draw(st.sampled_from(list(holder) if isinstance(holder, dict) else range(len(holder))))
        how = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"]))
        value = copy.deepcopy(draw(st.sampled_from(values)))
        if how == "remove":
            del holder[key]
        elif how == "replace":
            holder[key] = value
        elif isinstance(holder, dict):
            holder[draw(st.sampled_from(["x", "NAME", "digest", "_extra_state"]))] = value
        else:
            holder.insert(key, value)
    return changed


def nodes(content) -> Iterator:
    yield content
    for part in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from nodes(part)


@st.composite
def changed_bytes(draw, whole: bytes) -> bytes:
    """`whole` cut short, with a stretch of it overwritten, or with something put in."""
    start = draw(st.integers(0, len(whole)))
    how = draw(st.sampled_from(["cut", "flip", "write", "put in"]))
    if how == "cut":
        return whole[:start]
    if how == "flip":
        return (
            whole[:start]
            + bytes(byte ^ 1 << draw(st.integers(0, 7)) for byte in whole[start : start + 1])
            + whole[start + 1 :]
        )
    new = draw(st.binary(min_size=1, max_size=40))
    return whole[:start] + new + whole[start + (len(new) if how == "write" else 0) :]


@contextmanager
def answered():
    """What is refused is refused in one line; anything else that is raised is a failure."""
    try:
        yield
    except errors.MENDABLE as error:
        if not str(error).strip() or "\n" in str(error):
            raise AssertionError(f"{error!r} is not one line") from error
