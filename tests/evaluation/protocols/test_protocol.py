from __future__ import annotations

from pathlib import Path

import pytest

from lingula.core.errors import UserError
from lingula.data.sources.catalogue import PUBLIC, public_class
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.protocols.protocol import SYSTEMS, departures, protocol_of, protocols, with_protocol

IN_WORDS = ("colipri/token-probe/ct-rate",)
"""Protocols whose split no rule makes."""


def _config(name: str, **values: object) -> EvaluateConfig:
    return EvaluateConfig.from_values({"store": "stores/x", "protocol": name, **values}, "test")


@pytest.mark.parametrize("name", protocols())
def test_every_protocol_is_whole(name: str) -> None:
    protocol = protocol_of(name)
    system, kind, dataset = name.split("/")
    assert system in SYSTEMS
    assert dataset == protocol.dataset
    assert kind.startswith(protocol.task)
    assert protocol.source
    if name not in IN_WORDS:
        rules = public_class(dataset).rules
        assert protocol.split in (*rules, "lists")
        rule = rules.get(protocol.split)
        assert protocol.sizes is None or rule is None or rule.sizes == protocol.sizes
    config = with_protocol(_config(name))
    assert config.task == (protocol.task,)
    assert departures(config, protocol) == []
    assert with_protocol(config) == config


def test_every_system_has_protocols_and_every_labelled_data_set_but_the_unmeasured_is_used() -> None:
    assert {name.split("/")[0] for name in protocols()} == set(SYSTEMS)
    unused = set(PUBLIC) - {protocol.dataset for protocol in protocols().values()}
    assert unused == {"mimic-cxr", "indiana", "padchest", "ms-cxr", "rad-chestct", "nlst", "bimcv-r", "merlin", "nnunet"}


def test_options_of_the_protocol_yield_to_those_of_the_user() -> None:
    config = with_protocol(_config("g2d/segment/siim", fraction=[0.01], segment={"steps": 7, "batch": 4}))
    assert config.fraction == (0.01,)
    assert (config.segment.batch, config.segment.steps, config.segment.loss) == (4, 7, "mgca")
    assert config.label == ("Pneumothorax",)
    assert departures(config, protocol_of("g2d/segment/siim")) == ["segment.batch"]
    assert with_protocol(EvaluateConfig(store=Path("x"))) == EvaluateConfig(store=Path("x"))


def test_the_printed_options_repeat_the_evaluation() -> None:
    words = with_protocol(_config("g2d/segment/rsna", fraction=[0.01])).options("segment").split()
    assert words[words.index("--protocol") + 1] == "g2d/segment/rsna"
    assert words[words.index("--segment.loss") + 1] == "mgca"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("g2d/segment/rnsa", r"no such protocol: g2d/segment/rnsa. Did you mean 'g2d/segment/rsna'"),
        ("mgca", r"no such protocol: mgca. There are mgca/segment/rsna, "),
    ],
)
def test_unknown_protocols(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        with_protocol(_config(name))


def test_another_task_than_the_protocols() -> None:
    with pytest.raises(UserError, match=r"protocol g2d/ground/rsna is of the task ground, not probe"):
        with_protocol(_config("g2d/ground/rsna", task=["probe"]))
