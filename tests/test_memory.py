"""The queue against a plain Python list."""

import random

import pytest
import torch

from reid.memory import CrossBatch, EmbeddingQueue
from reid.pairs import Rows


def push(queue: EmbeddingQueue, start: int, size: int) -> list[int]:
    """Pushes rows whose every part tells the row's number."""
    numbers = torch.arange(start, start + size)
    queue.push(Rows(numbers[:, None].float() + torch.tensor([1.0, 2.0]), numbers * 2, numbers * 3, numbers))
    return numbers.tolist()


def held(queue: EmbeddingQueue) -> list[int]:
    return sorted(queue.rows(normalize=True).indices.tolist())


def test_queue_holds_exactly_the_newest_for_any_batch_and_size():
    choose = random.Random(0)
    for _ in range(200):
        size = choose.randint(1, 40)
        queue, expected, start = EmbeddingQueue(size, 2), [], 0
        for _ in range(choose.randint(1, 12)):
            batch = choose.randint(1, 60)
            expected = (expected + push(queue, start, batch))[-size:]
            start += batch
            assert held(queue) == expected
            assert len(queue) == len(expected)


def test_rows_keep_their_labels_and_come_back_raw_or_as_unit_vectors():
    queue = EmbeddingQueue(5, 2)
    push(queue, 0, 4)
    push(queue, 4, 3)
    raw, unit = queue.rows(normalize=False), queue.rows(normalize=True)
    for row, one, c, d, i in zip(raw.embeddings, unit.embeddings, raw.classes, raw.domains, raw.indices, strict=True):
        assert torch.allclose(row, i + torch.tensor([1.0, 2.0]))
        assert torch.allclose(one, row / row.norm())
        assert (c, d) == (2 * i, 3 * i)


def test_unit_rows_are_a_view_and_half_precision_is_stored_as_float32():
    queue = EmbeddingQueue(4, 2)
    queue.push(Rows.of(torch.ones(2, 2, dtype=torch.bfloat16), torch.zeros(2, dtype=torch.int64)))
    rows = queue.rows(normalize=True)
    assert rows.embeddings.dtype == torch.float32
    assert rows.embeddings.data_ptr() == queue.units.data_ptr()
    assert rows.normalized() is rows
    assert not queue.rows(normalize=False).unit


def test_zero_rows_stay_finite():
    queue = EmbeddingQueue(2, 3)
    queue.push(Rows.of(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)))
    assert queue.rows(normalize=True).embeddings.isfinite().all()
    assert torch.equal(queue.rows(normalize=False).embeddings, torch.zeros(2, 3))


def test_what_is_no_vector_of_its_dimension_is_not_kept():
    with pytest.raises(ValueError, match=r"found embeddings \(4, 3, 2, 2\); expected vectors \(B, 3\).*MEMORY.SIZE 0"):
        EmbeddingQueue(4, 3).push(Rows.of(torch.ones(4, 3, 2, 2), torch.zeros(4, dtype=torch.int64)))


def test_state_carries_position_and_fill():
    queue, copy = EmbeddingQueue(5, 2), EmbeddingQueue(5, 2)
    push(queue, 0, 7)
    copy.load_state_dict(queue.state_dict())
    for start in (7, 10):
        push(queue, start, 3)
        push(copy, start, 3)
    assert held(copy) == held(queue) == [8, 9, 10, 11, 12]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 4, "mode": "both"}, "no both; there are separate, joint"),
        ({"size": 0}, "SIZE is 0"),
        ({"size": 4, "momentum": 1.0}, "MOMENTUM is 1.0"),
    ],
)
def test_impossible_memories_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CrossBatch(**options)


def test_drift_compares_with_every_row_held_of_the_same_sample():
    """Two dimensions; sample 7 is held twice, 1 and 3 pushes of two rows ago, sample 9 no longer."""
    queue, zeros = EmbeddingQueue(6, 2), torch.zeros(2, dtype=torch.int64)
    for rows, indices in [
        ([[9.0, 9.0], [9.0, 9.0]], [9, 9]),
        ([[2.0, 0.0], [1.0, 1.0]], [7, 1]),
        ([[1.0, 1.0], [1.0, 1.0]], [2, 3]),
        ([[0.0, 5.0], [1.0, 1.0]], [7, 4]),
    ]:
        queue.push(Rows(torch.tensor(rows), zeros, zeros, torch.tensor(indices)))
    now, indices = torch.tensor([[0.0, 3.0], [1.0, 0.0]]), torch.tensor([7, 9])
    assert queue.drift(now, indices) == {"drift": pytest.approx((2 + 0) / 2), "age": (3 + 1) / 2}
    assert queue.drift(now, torch.tensor([5, 6])) == {}
