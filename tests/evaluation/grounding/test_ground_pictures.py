from __future__ import annotations

from pathlib import Path

import numpy as np
from blobs import GridEncoder, build_blobs

from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.grounding.model_maps import mean_cells
from lingula.evaluation.grounding.pictures import SIDE, choose_queries, ground_pictures
from lingula.evaluation.grounding.queries import gather_queries
from lingula.evaluation.overlays import TRUTH

CONFIG = EvaluateConfig(store=Path("x"))


def test_sides_come_first_and_every_image_once() -> None:
    store = build_blobs()
    for row in (36, 38, 40):
        store._rows[row]["regions"] = [*store.regions(row), store.regions(row)[0].__class__("Beta", (0, 0, 4, 4))]
        store._rows[row]["masks"].append(None)
    queries = gather_queries(store, store.rows("test"), CONFIG).asked
    plain = [query for query in queries if not query.stored]
    assert len(plain) == 3
    chosen = choose_queries(queries, 5, seed=0)
    assert len({query.row for query in chosen}) == 5
    assert all(query.stored for query in chosen)
    assert choose_queries(queries, 5, seed=0) == chosen
    assert choose_queries(queries, 5, seed=1) != chosen
    assert choose_queries(queries, 0, seed=0) == []
    assert len(choose_queries(queries, 99, seed=0)) == len(store.rows("test"))


def test_pictures_show_truth_phrase_swap_and_mirror() -> None:
    store = build_blobs()
    queries = gather_queries(store, store.rows("test"), CONFIG).asked[:1]
    (picture,) = ground_pictures(GridEncoder(), GridEncoder(), store, queries, None, CONFIG)
    assert picture.image.shape == (SIDE, 4 * SIDE + 3 * 6, 3)
    panels = [picture.image[:, place * (SIDE + 6) : place * (SIDE + 6) + SIDE] for place in range(4)]
    contours = [np.argwhere((panel == TRUTH).all(axis=2)).mean(axis=0) for panel in panels]
    assert contours[3][1] + contours[1][1] == np.float64(SIDE - 1)
    np.testing.assert_array_equal(contours[1], contours[2])
    assert (panels[1] != panels[2]).any()
    side = store.regions(queries[0].row)[0].phrase.split()[0]
    assert f"“{side} sided" in picture.caption
    assert f"“{'left' if side == 'right' else 'right'} sided" in picture.caption


def test_with_a_mean_the_centred_maps_are_drawn() -> None:
    store = build_blobs()
    encoder = GridEncoder()
    queries = gather_queries(store, store.rows("test"), CONFIG).asked[:1]
    mean = mean_cells(encoder, store, store.rows("train"))
    (plain,), (drawn,) = (ground_pictures(encoder, encoder, store, queries, each, CONFIG) for each in (None, mean))
    assert "Cosine less its mean over training images, " in drawn.caption
    assert "Cosine less" not in plain.caption
    assert (plain.image != drawn.image).any()


def test_phrases_without_a_side_have_two_panels() -> None:
    store = build_blobs()
    config = CONFIG.model_copy(update={"ground": CONFIG.ground.model_copy(update={"words": "prompt"})})
    queries = gather_queries(store, store.rows("test"), config).asked
    pictures = ground_pictures(GridEncoder(), GridEncoder(), store, queries, None, config)
    assert [picture.image.shape[1] for picture in pictures] == [2 * SIDE + 6] * 4
    assert all("prompts of" in picture.caption for picture in pictures)
