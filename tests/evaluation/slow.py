"""The definitions of `docs/evaluation.md` as slow loops in float64: what every fast path must equal."""

import numpy as np

TIE = 1e-6


def ranks(scores, is_match, is_junk):
    """Ranks of the matches of one query; a wrong picture that ties with a match stands above it."""
    found = sorted((score for score, match in zip(scores, is_match, strict=True) if match), reverse=True)
    wrong = [s for s, match, junk in zip(scores, is_match, is_junk, strict=True) if not match and not junk]
    return [
        place + sum(other >= score - TIE * max(1, abs(score)) for other in wrong)
        for place, score in enumerate(found, start=1)
    ]


def person_search(query, gallery, *ids, **options):
    """Per query: the ranks of its matches by the inner product; arguments of `searches` follow."""
    return searches(np.asarray(query, np.float64) @ np.asarray(gallery, np.float64).T, *ids, **options)


def searches(scores, query_pids, gallery_pids, query_camids=None, gallery_camids=None, skip_same_index=False):
    """Per query: the ranks of its matches. scores: (Q, G)."""
    found = []
    for i, pid in enumerate(query_pids):
        same = np.array([other == pid for other in gallery_pids])
        junk = np.zeros(len(same), bool)
        if query_camids is not None:
            junk = same & (np.asarray(gallery_camids) == query_camids[i])
        if skip_same_index:
            junk[i] = True
        if pid == 0:
            same[:] = False
            junk[:] = False
            if skip_same_index:
                junk[i] = True
        found.append(ranks(scores[i], same & ~junk, junk))
    return found


def figures(found, max_rank=50):
    """cmc, mAP and mINP over the queries that have a match, then the number of those."""
    valid = [r for r in found if r]
    cmc = [np.mean([r[0] <= k for r in valid]) for k in range(1, max_rank + 1)]
    average = [np.mean([place / rank for place, rank in enumerate(r, start=1)]) for r in valid]
    inp = [len(r) / r[-1] for r in valid]
    return np.array(cmc), np.mean(average), np.mean(inp), len(valid)


def retrieval(found, ks):
    """R@K, MAP@R, RP and MRR over the queries that have a match."""
    valid = [r for r in found if r]
    means = {f"R@{k}": np.mean([r[0] <= k for r in valid]) for k in ks}
    means["MAP@R"] = np.mean([sum(j / x for j, x in enumerate(r, start=1) if x <= len(r)) / len(r) for r in valid])
    means["RP"] = np.mean([sum(x <= len(r) for x in r) / len(r) for r in valid])
    means["MRR"] = np.mean([1 / r[0] for r in valid])
    return means


def k_reciprocal(scores, num_query, k1, k2, weight, alone=False):
    """Final distances (Q, G) of Zhong et al. 2017 as published: everything in N x N matrices, one picture at a time.

    scores: (N, N) of every picture as a query with every picture in the gallery, queries first. The original distance is
    the squared Euclidean one divided by the row's largest, which is what is written here for unit vectors.
    """
    best = scores.max(axis=1, keepdims=True)
    original = (best - scores) / (best - scores.min(axis=1, keepdims=True))
    order = np.argsort(original, axis=1, kind="stable")
    num = len(scores)

    def reciprocal(i, k):
        forward = order[i, : k + 1]
        return [j for j in forward if i in order[j, : k + 1]]

    vectors = np.zeros((num, num))
    for i in range(num):
        mine = reciprocal(i, k1)
        members = set(mine)
        for candidate in mine:
            theirs = reciprocal(candidate, int(np.around(k1 / 2)))
            if len(set(theirs) & set(mine)) > 2 / 3 * len(theirs):
                members |= set(theirs)
        members = sorted(members)
        weights = np.exp(-original[i, members])
        vectors[i, members] = weights / weights.sum()
    if k2 > 1:
        vectors = np.stack([vectors[order[i, :k2]].mean(axis=0) for i in range(num)])
    rows = range(num_query)
    columns = range(num) if alone else range(num_query, num)
    overlap = np.array([[np.minimum(vectors[i], vectors[j]).sum() for j in columns] for i in rows])
    jaccard = 1 - overlap / (2 - overlap)
    return (1 - weight) * jaccard + weight * original[:num_query, columns.start :]
