"""Samplers with roles: which domains stand in a batch and for what, who is seen, how processes share it, what is refused."""

from collections import Counter

import numpy as np
import pytest

from reid.data.samplers.base_and_meta import BaseAndMeta
from reid.data.samplers.meta import BASE, META_TEST, META_TRAIN, Meta

SIZES = ([4, 6, 3, 1, 9], [2, 2, 5, 4], [8, 8, 8, 8], [4, 4, 4])  # of each domain its identities' pictures


def labels(*sizes):
    """classes, domains, camids."""
    per_id = [size for domain in sizes for size in domain]
    domain_of = [number for number, domain in enumerate(sizes) for _ in domain]
    camids = np.concatenate([np.arange(size) % 2 for size in per_id])
    return np.repeat(np.arange(len(per_id)), per_id), np.repeat(domain_of, per_id), camids


CLASSES, DOMAINS, CAMIDS = DATA = labels(*SIZES)


@pytest.mark.parametrize(
    ("sampler", "size", "options", "shares"),
    [
        (Meta, 24, {}, [META_TRAIN, META_TRAIN, META_TRAIN, META_TEST]),
        (Meta, 12, {"train_domains": 1}, [META_TRAIN, META_TEST]),
        (BaseAndMeta, 24, {"train_domains": 2}, [BASE, META_TRAIN, META_TRAIN, META_TEST]),
        (BaseAndMeta, 30, {"test_domains": 2}, [BASE, META_TRAIN, META_TRAIN, META_TEST, META_TEST]),
    ],
)
def test_a_batch_is_equal_shares_of_domains_each_with_one_role(sampler, size, options, shares):
    made = sampler(*DATA, size, 0, num_instances=2, **options)
    draws = made.draws(0)
    assert len(draws) == len(made) > 3
    seen = Counter()
    for draw in draws:
        assert draw.indices.shape == draw.roles.shape == (size,)
        of_domains = draw.roles != BASE
        where = set(zip(DOMAINS[draw.indices[of_domains]].tolist(), draw.roles[of_domains].tolist(), strict=True))
        assert sorted(role for _, role in where) == [role for role in shares if role != BASE]
        assert len({domain for domain, _ in where}) == len(where), "no domain has two roles"
        for domain, role in where:
            rows = draw.indices[of_domains & (DOMAINS[draw.indices] == domain)]
            assert len(rows) == size // len(shares)
            assert set(Counter(CLASSES[rows]).values()) == {2}
            seen[domain, role] += 1
        assert (draw.roles == BASE).sum() == size // len(shares) * shares.count(BASE)
    assert {domain for domain, role in seen if role == META_TEST} == {0, 1, 2, 3}, "each is tested on some time"


def test_where_every_domain_is_in_every_batch_every_picture_is_seen():
    draws = Meta(*DATA, 24, 0, num_instances=2).draws(3)
    assert len(draws) == 6, "the largest domain has 32 pictures, in batches of 3 identities of 2"
    assert set(np.concatenate([draw.indices for draw in draws]).tolist()) == set(range(len(CLASSES)))


def test_the_base_share_shows_every_picture_and_is_of_any_domains():
    draws = BaseAndMeta(*DATA, 18, 0, num_instances=2, train_domains=1).draws(0)
    base = [draw.indices[draw.roles == BASE] for draw in draws]
    assert set(np.concatenate(base).tolist()) == set(range(len(CLASSES)))
    assert max(len(set(DOMAINS[rows].tolist())) for rows in base) > 1


def test_the_length_is_what_is_asked_for_whatever_the_pictures():
    assert [len(Meta(*DATA, 24, 0, num_instances=2, length=n).draws(1)) for n in (1, 100)] == [1, 100]


def test_batches_are_a_function_of_seed_and_epoch():
    def dealt(seed, epoch):
        draws = BaseAndMeta(*DATA, 24, seed, num_instances=2, train_domains=2).draws(epoch)
        return np.stack([np.stack([draw.indices, draw.roles]) for draw in draws])

    assert np.array_equal(dealt(1, 3), dealt(1, 3))
    assert not np.array_equal(dealt(1, 3), dealt(1, 4))
    assert not np.array_equal(dealt(1, 3), dealt(2, 3))


def test_each_process_gets_its_share_of_every_domain_and_role():
    (draw, *_) = BaseAndMeta(*DATA, 24, 0, num_instances=2, train_domains=2).draws(0)
    with pytest.raises(ValueError, match="found groups of 8, 8, 8 rows for 2 processes of 12 rows each"):
        draw.shares(2)
    shares = draw.shares(3)
    kinds = [Counter(draw.roles[rows].tolist()) for rows in shares]
    assert kinds == [{BASE: 2, META_TRAIN: 4, META_TEST: 2}] * 3
    assert sorted(np.concatenate(shares).tolist()) == list(range(24))


@pytest.mark.parametrize(
    ("sampler", "size", "options", "message"),
    [
        (Meta, 24, {"train_domains": 4}, r"meta: found 4 source\(s\); expected 5 or more, as TRAIN_DOMAINS 4 and TEST"),
        (
            Meta,
            24,
            {"test_domains": 4},
            r"meta: found 4 source\(s\); expected 5 or more, as TRAIN_DOMAINS 0 and TEST_DO",
        ),
        (Meta, 20, {}, "meta: found batches of 20 with 4 shares and 2 images per identity; expected a multiple"),
        (BaseAndMeta, 24, {}, "base_and_meta: found batches of 24 with 5 shares"),
        (Meta, 32, {}, "meta, domain 3: found 3 identities; expected at least 4"),
    ],
)
def test_sizes_that_cannot_be_met_are_refused_in_one_line(sampler, size, options, message):
    with pytest.raises(ValueError, match=message) as error:
        sampler(*DATA, size, 0, num_instances=2, **options)
    assert "\n" not in str(error.value)
