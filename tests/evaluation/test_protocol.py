"""The fingerprint changes with everything that changes a figure, and with nothing else."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from reid.data.records import Card, Dataset, Sample, Trial
from reid.evaluation.protocol import describe, fingerprint, readable

CARD = Card("made up", "none", "nowhere")


def world(root="/data", **changes):
    samples = [Sample(f"{root}/{i}.jpg", i % 3 + 1, i % 2) for i in range(6)]
    first = Dataset("first", Path(root), samples, (), CARD, variant={"boxes": "labelled"})
    second = Dataset("second", Path(root), samples[:2], [Trial(samples[:2], samples[2:])], CARD)
    return replace(first, **changes), second


def test_the_protocol_is_plain_json_and_counts():
    first, second = world()
    protocol = json.loads(json.dumps(describe([first], [second], flip=True)))
    assert protocol == describe([first], [second], flip=True)
    source = protocol["sources"][0]
    assert (source["name"], source["variant"]) == ("first", {"boxes": "labelled"})
    assert {name: source["train"][name] for name in ("ids", "images", "cameras")} == {
        "ids": 3,
        "images": 6,
        "cameras": 2,
    }
    assert protocol["targets"][0]["trials"][0]["gallery"]["images"] == 4
    assert protocol["rules"]["flip"] is True


def test_the_fingerprint_is_eight_hex_digits_and_repeats():
    first, second = world()
    print_of = fingerprint(describe([first], [second]))
    assert len(print_of) == 8
    assert int(print_of, 16) >= 0
    assert print_of == fingerprint(describe([first], [second]))


def test_the_fingerprint_ignores_where_the_data_lies_and_the_order_of_the_config():
    here, there = world(), world("/elsewhere/data")
    assert fingerprint(describe(here, here[1:])) == fingerprint(describe(there, there[1:]))
    assert fingerprint(describe(here, here)) == fingerprint(describe(here[::-1], here[::-1]))


def test_the_fingerprint_changes_with_what_changes_figures():
    first, second = world()
    other_variant, _ = world(variant={"boxes": "detected"})
    other_list, _ = world(train=first.train[:5])
    alone = replace(second, trials=[Trial(second.trials[0].query)])
    protocols = [
        describe([first], [second]),
        describe([other_variant], [second]),
        describe([other_list], [second]),
        describe([first], [alone]),
        describe([first], [replace(second, metric="retrieval")]),
        describe([first], [second], flip=True),
        describe([first], [second], selection="oracle"),
        describe([first], [second], rerank=True),
        describe([first, second], [second]),
    ]
    assert len({fingerprint(protocol) for protocol in protocols}) == len(protocols)


def test_the_protocol_in_words_names_every_choice():
    first, second = world()
    alone = replace(second, trials=[Trial(first.train[:4])] * 2)
    lines = readable(describe([first], [alone], flip=True))
    assert lines[0].startswith("source first (boxes=labelled): 3 ids, 6 images, lists ")
    assert lines[1].startswith("target second: 2 trials, 4 in the other queries, reid, lists ")
    assert lines[2:] == [
        "junk: same pid and camid",
        "distractor: pid 0 never matches",
        "average_precision: mean of precision at each match",
        "ties: within 1e-6, against the query",
        "score: inner product",
        "flip: True",
        "selection: last",
    ]


def test_protocols_that_differ_differ_in_words():
    _, second = world()
    same_sizes = replace(second, trials=[Trial(second.trials[0].gallery[:2], second.trials[0].gallery)])
    (line, other) = (readable(describe([], [dataset]))[0] for dataset in (second, same_sizes))
    assert line != other
    assert line.rpartition(" ")[0] == other.rpartition(" ")[0]


def test_an_unknown_selection_is_refused():
    with pytest.raises(ValueError, match="no selection best; there are last, source_val, oracle"):
        describe([], [], selection="best")
