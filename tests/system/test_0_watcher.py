# SPDX-License-Identifier: LGPL-2.1-or-later
"""The watcher itself: it must see what it is there to see."""

import time

from machine import OWNER_CHANGING, Card
from topology import Topology
from watch import Watcher

LEAK_SECONDS = 0.02
LONG = 0.3  # also for a watcher that others hold up


def watch(place, tmp_path, play):
    cards = [Card(tmp_path / f"card{index}") for index in range(8)]
    watcher = Watcher(place / "watcher", Topology.vendor(), [card.path for card in cards], tmp_path)
    time.sleep(0.2)
    play(cards)
    time.sleep(0.2)
    return watcher.finish()


def isolate_pair(cards):
    for ppu, mask in {0: 0x19, 1: 0x31}.items():
        cards[ppu].mask = mask
    for owner in (1 | OWNER_CHANGING, 1):
        for ppu in (0, 1):
            cards[ppu].owner = owner


def test_isolated_cards_are_no_violation(place, tmp_path):
    seen = watch(place, tmp_path, isolate_pair)
    assert seen["links"] == 16
    assert seen["violations"] == []
    assert seen["samples"] > 200


def test_a_planted_leak_of_20_ms_is_caught(place, tmp_path):
    def play(cards):
        isolate_pair(cards)
        time.sleep(0.1)
        cards[0].mask = 0x11
        time.sleep(LEAK_SECONDS)
        cards[0].mask = 0x19

    seen = watch(place, tmp_path, play)
    assert [(found["a"], found["b"]) for found in seen["violations"]] == [(0, 2)]
    assert seen["violations"][0]["registers"] == [0x11, 0x31, 0, 0, 0, 0, 0, 0]
    assert seen["violations"][0]["owners"] == [1, 1, 0, 0, 0, 0, 0, 0]


def test_a_card_let_through_before_its_cut_is_caught(place, tmp_path):
    def play(cards):
        cards[6].owner = 7
        time.sleep(LONG)
        cards[6].mask = 0x39

    seen = watch(place, tmp_path, play)
    assert [(found["a"], found["b"]) for found in seen["violations"]] == [(0, 6), (4, 6), (5, 6), (6, 7)]


def test_a_link_between_two_vms_is_caught(place, tmp_path):
    def play(cards):
        for card in cards:
            card.mask = 0x39
        cards[0].owner, cards[1].owner = 1, 2
        time.sleep(LONG)
        cards[0].mask = 0x19
        cards[1].mask = 0x31
        time.sleep(LONG)
        cards[0].mask = 0x39

    seen = watch(place, tmp_path, play)
    assert [(found["a"], found["b"]) for found in seen["violations"]] == [(0, 1)]
