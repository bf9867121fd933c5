"""Episodes: pairs of two pictures, of two cameras where there are two, each identity once a batch."""

import numpy as np
import pytest
from test_samplers import labels, random_labels

from reid.data.samplers.episode import Episode


def pairs(batches) -> np.ndarray:
    """(L * P, 2) the pairs of all batches."""
    return np.concatenate(batches).reshape(-1, 2)


def uneven(seed):
    """Identities of 1 to 12 pictures in 1 to 4 cameras, one of them often the largest by far; two domains."""
    rng = np.random.default_rng(seed)
    sizes = [rng.integers(1, 13, 12).tolist() for _ in range(2)]
    classes, domains, _ = labels(sizes)
    cameras = rng.integers(1, 5, 24)[classes]
    return classes, domains, np.minimum(rng.geometric(0.4, len(classes)), cameras)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_each_identity_once_a_batch_and_every_picture_each_epoch(seed, balanced):
    classes, domains, camids = random_labels(seed)
    made = Episode(classes, domains, camids, 8, seed, balanced=balanced, singles="augment")
    for epoch in range(3):
        batches = made.batches(epoch)
        assert len(batches) == len(made)
        rows = classes[np.stack(batches)].reshape(len(batches), 4, 2)
        assert (rows[..., 0] == rows[..., 1]).all()
        assert all(len(set(row)) == 4 for row in rows[..., 0].tolist())
        assert set(np.concatenate(batches).tolist()) == set(range(len(classes)))


@pytest.mark.parametrize("seed", range(40))
def test_two_different_pictures_from_two_cameras_where_there_are_two(seed):
    classes, domains, camids = uneven(seed)
    found = pairs(Episode(classes, domains, camids, 8, seed).batches(0))
    assert (found[:, 0] != found[:, 1]).all()
    for first, second in found.tolist():
        own = set(camids[classes == classes[first]].tolist())
        assert len(own) == 1 or camids[first] != camids[second]


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_more_pictures_of_each_identity(seed, balanced):
    classes, domains, camids = uneven(seed)
    made = Episode(classes, domains, camids, 16, seed, num_instances=4, balanced=balanced)
    batches = made.batches(1)
    assert len(batches) == len(made)
    rows = np.stack(batches).reshape(len(batches), 4, 4)
    assert (classes[rows] == classes[rows[..., :1]]).all()
    assert all(len(set(row)) == 4 for row in classes[rows[..., 0]].tolist())
    sizes = np.bincount(classes)
    assert set(rows.ravel().tolist()) == set(np.flatnonzero(sizes[classes] > 1).tolist())
    for group in rows.reshape(-1, 4).tolist():  # no picture twice but of identities that have too few
        assert len(set(group)) == min(4, sizes[classes[group[0]]])


@pytest.mark.parametrize("camids", [[-1] * 5, [3] * 5, [0, 0, 0, 0, 1], [0, 0, 0, 1, 1], [0, 0, 1, 1, 2]])
def test_pairs_an_identity_are_as_few_as_show_every_picture(camids):
    classes = np.repeat(np.arange(4), 5)
    made = Episode(classes, np.zeros_like(classes), np.tile(camids, 4), 8, 0)
    largest = np.bincount(np.array(camids) + 1).max()
    assert len(made) == max(3, largest if len(set(camids)) > 1 else 0)
    assert len(np.unique(np.concatenate(made.batches(0)))) == 20


def test_pictures_of_small_cameras_take_turns_beside_a_large_one():
    classes = np.repeat(np.arange(2), 12)
    made = Episode(classes, np.zeros_like(classes), np.tile([0] * 9 + [1] * 3, 2), 4, 0)
    seen = np.bincount(np.concatenate(made.batches(0)))
    assert seen.tolist() == ([1] * 9 + [3] * 3) * 2


def test_cameras_meet_in_every_pairing_over_the_epochs():
    classes = np.repeat(np.arange(4), 12)
    camids = np.tile(np.arange(12) % 4, 4)
    made = Episode(classes, np.zeros_like(classes), camids, 8, 0)
    met = {tuple(sorted(camids[pair].tolist())) for epoch in range(8) for pair in pairs(made.batches(epoch))}
    assert len(met) == 6


def test_balanced_shares_every_batch_evenly_between_the_domains():
    classes, domains, camids = labels([[4] * 4, [4] * 16])
    for batch in Episode(classes, domains, camids, 16, 0, balanced=True).batches(0):
        assert np.bincount(domains[batch]).tolist() == [8, 8]


def test_single_pictures_are_left_out_or_paired_with_themselves_and_counted():
    classes, domains, camids = labels([[1, 1, 2, 4, 4, 1]])
    skipped = Episode(classes, domains, camids, 6, 0)
    assert skipped.notes == ("3 identities have a single picture: left out",)
    assert set(classes[np.concatenate(skipped.batches(0))]) == {2, 3, 4}
    paired = Episode(classes, domains, camids, 6, 0, singles="augment")
    assert paired.notes == ("3 identities have a single picture: paired with themselves, augmented anew",)
    own = [pair for pair in pairs(paired.batches(0)).tolist() if classes[pair[0]] in (0, 1, 5)]
    assert own
    assert all(first == second for first, second in own)
    assert Episode(*labels([[2] * 4]), 4, 0).notes == ()


@pytest.mark.parametrize(
    ("sizes", "batch_size", "options", "message"),
    [
        ([[4, 4, 4], [4]], 7, {}, "episode: found batches of 7 with 2 images per identity; expected a multiple"),
        ([[4, 4, 4], [4]], 10, {}, "episode: found 4 identities; expected at least 5, as a batch of 10"),
        ([[4, 4, 4], [4]], 8, {"balanced": True}, "found 1 identities in domain 1; expected at least 2"),
        ([[4, 4, 4], [4]], 18, {}, "found batches of 18 and 16 training images"),
        ([[4, 4, 4], [1, 1, 1]], 4, {}, "found one picture per identity in all of domain 1; .* SINGLES augment"),
        ([[1, 1, 4, 4]], 6, {}, "episode: found 2 identities; expected at least 3"),
        ([[4, 4]], 4, {"singles": "twice"}, "SINGLES: no twice; there are skip, augment"),
    ],
)
def test_what_cannot_be_dealt_is_refused_in_one_line(sizes, batch_size, options, message):
    with pytest.raises(ValueError, match=message) as error:
        Episode(*labels(sizes), batch_size, 0, **options)
    assert "\n" not in str(error.value)
