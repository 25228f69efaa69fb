"""One process of one training step, for every method, objective and way of spreading; run by test_ranks, which compares."""

from __future__ import annotations

import copy
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lingula.core.batch import Batch, Tokens
from lingula.core.distributed import World, process_group, wait_for_all, world_from_environment
from lingula.core.errors import UserError
from lingula.data.augment import ImageTransform
from lingula.data.augment_config import AugmentConfig
from lingula.data.loader import BatchBuilder, TextPlan, TrainingLoader
from lingula.data.samples import BatchOrder
from lingula.methods.base import Method
from lingula.methods.clip_config import ClipConfig
from lingula.methods.colipri import ColipriMethod
from lingula.methods.colipri_config import ColipriMethodConfig
from lingula.methods.g2d_config import G2DConfig
from lingula.methods.m_flag_config import MFlagConfig
from lingula.methods.registry import build
from lingula.methods.supervised_config import SupervisedConfig
from lingula.models.batch_norm import GlobalBatchNorm
from lingula.models.encoder_config import ImageEncoderConfig
from lingula.models.text_encoder import TextEncoder
from lingula.models.text_pooling import Pooling
from lingula.training.config import OptimisationConfig, RuntimeConfig
from lingula.training.loop import Trainer, Validation
from lingula.training.optimisation import build_optimiser
from lingula.training.parallel import Spread, clip_gradients, load_optimiser_state, optimiser_state

Case = tuple[str, str, int | None, str]
SPECIFICATION = importlib.util.spec_from_file_location("tiny", Path(__file__).with_name("conftest.py"))
tiny: Any = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(tiny)
SIZE, IMAGE_SIZE, TEXT_FEATURES, FINDINGS = 12, 32, 10, 3
UNEVEN = 4
"""Micro-batch that cuts the six samples of one of two processes into four and two."""
CPU = torch.device("cpu")
G2D: dict[str, Any] = {"latent": 8, "hidden": 6, "decoder_channels": (12, 8, 8, 6, 4), "dense_warmup": 0, "dense_rise": 0}
ONE_WAY: dict[str, Any] = {"pooling": "attention", "positives": "one", "direction": "image-to-text"}
VOLUME = (4, 8, 4)
COLIPRI: dict[str, Any] = {
    "encoder": {"embed_dim": 12, "depth": 2, "num_heads": 2, "patch_size": (2, 4, 2), "drop_path": 0.0},
    "image_pooler_heads": 2,
    "text_pooler_heads": 2,
    "report_weight": 1.0,
    "report_decoder": {"width": 8, "layers": 1, "heads": 2, "max_tokens": 12, "dropout": 0.0},
    "masked_weight": 1.0,
}
METHODS: dict[str, Any] = {
    **{f"clip-{positives}": ClipConfig(latent=6, positives=positives) for positives in ("one", "share", "mask")},
    "clip-mlp": ClipConfig(latent=6, hidden=8, head="mlp"),
    "clip-batch-norm": ClipConfig(latent=6, hidden=8, head="batch-norm-mlp"),
    "clip-bare-text": ClipConfig(head="batch-norm-linear", text_head="none"),
    "clip-trained-text": ClipConfig(latent=6),
    **{f"m-flag-{on}": MFlagConfig(latent=5, hidden=7, orthogonality_on=on) for on in ("features", "latents", "both")},
    **{f"m-flag-{form}": MFlagConfig(latent=5, hidden=7, orthogonality_form=form) for form in ("raw", "standardised")},
    "m-flag-mlp": MFlagConfig(latent=5, hidden=7, image_head="mlp", per_dimension=False),
    "m-flag-bare-text": MFlagConfig(image_head="linear", text_head="none"),
    "m-flag-whitening": MFlagConfig(hidden=7, text_head="whitening", image_head="batch-norm-linear"),
    "m-flag-trained-text": MFlagConfig(latent=5, hidden=7),
    "g2d": G2DConfig(**G2D),
    "g2d-resting": G2DConfig(**G2D | {"dense_warmup": 5}),
    "g2d-paper": G2DConfig(**G2D, **ONE_WAY, dense_form="paper", text_positions="first"),
    "g2d-released": G2DConfig(**G2D, pooling="attention", dense_form="released", positives="mask"),
    "g2d-reconstruction": G2DConfig(**G2D, dense="reconstruction", text_head="none", heads=2),
    "g2d-contrastive": G2DConfig(**G2D, dense="none"),
    "g2d-trained-text": G2DConfig(**G2D),
    "g2d-padded-trained-text": G2DConfig(**G2D, text_positions="all"),
    "supervised": SupervisedConfig(),
    **{f"colipri-{positives}": ColipriMethodConfig(**COLIPRI, positives=positives) for positives in ("one", "share", "mask")},
    "colipri-volumes-alone": ColipriMethodConfig(**COLIPRI),
}


BOTH_WAYS = ("clip-trained-text", "m-flag-whitening", "g2d", "supervised", "colipri-share")
"""One of each method, compared with and without accumulation and in shares (FSDP) in every run of the tests; `more_cases` has
the others, which are spread whole, with accumulation."""


def cases() -> Iterator[Case]:
    """Method, how it is spread, micro-batch of one process among two, batch norm."""
    for name in METHODS:
        yield (name, "ddp", 2, "global")
    for name in BOTH_WAYS:
        yield (name, "ddp", None, "global")
        yield from ((name, "fsdp", micro, "global") for micro in (None, 2))
    for name in ("clip-trained-text", "m-flag-whitening", "supervised"):
        yield (name, "ddp", UNEVEN, "global")
    yield ("supervised", "ddp", None, "local")


def more_cases() -> Iterator[Case]:
    """What is left, for the long tests: every other method without accumulation, and in shares, which takes many messages."""
    for name in METHODS.keys() - set(BOTH_WAYS):
        yield (name, "ddp", None, "global")
        yield from ((name, "fsdp", micro, "global") for micro in (None, 2))


def make_method(name: str) -> Method:
    """Build a method in float64 around a tiny network with batch norms, and a tiny transformer where texts are trained."""
    torch.manual_seed(5)
    if name.startswith("colipri"):
        return ColipriMethod(METHODS[name], make_text_encoder()).double().train()
    text = make_text_encoder() if name.endswith("trained-text") else None
    findings = [f"finding {number}" for number in range(FINDINGS)]
    encoder = ImageEncoderConfig(name="test_resnet", output_stride=8 if name.startswith("g2d") else None)
    method = build(METHODS[name], encoder, text, TEXT_FEATURES, findings, IMAGE_SIZE).double().train()
    method.at_step(0, 10)
    return method


def make_text_encoder() -> TextEncoder:
    from transformers import BertConfig, BertModel

    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = BertModel(BertConfig(vocab_size=20, max_position_embeddings=12, **size, **still), add_pooling_layer=False)
    tokeniser = SimpleNamespace(model_max_length=12, pad_token_id=0)
    return TextEncoder(model, tokeniser, Pooling(kind="cls"), frozen=False)


def make_batch(rows: slice, padded: bool = False) -> Batch:
    """Some rows of one global batch; texts of very different lengths, padded to the longest of these rows or to 12 tokens."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(SIZE, 1, IMAGE_SIZE, IMAGE_SIZE, generator=generator, dtype=torch.float64)
    features = torch.randn(SIZE, TEXT_FEATURES, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 2, (SIZE, FINDINGS), generator=generator).double()
    labels[2, :2] = float("nan")
    ids = torch.randint(1, 20, (SIZE, 12), generator=generator)
    lengths = torch.tensor([2, 12, 3, 9, 2, 11, 4, 10, 3, 12, 2, 7])[rows]
    mask = torch.arange(12 if padded else int(lengths.max())) < lengths[:, None]
    tokens = Tokens(ids[rows, : mask.shape[1]] * mask, mask)
    groups = torch.arange(SIZE) * 2 // 3 * (2**60 // 9)
    own = [f"study-{row}" for row in range(SIZE)][rows]
    return Batch(own, images[rows], groups=groups[rows], tokens=tokens, text_features=features[rows], labels=labels[rows])


def with_volumes(batch: Batch, rows: slice, paired: bool) -> Batch:
    """The same texts with volumes, reports and opposite sentences; odd rows, one of two processes' share, have no valid slot."""
    generator = torch.Generator().manual_seed(3)
    volumes = torch.randn(SIZE, 1, *VOLUME, generator=generator, dtype=torch.float64)[rows]
    keys = list(range(SIZE))[rows]
    if not paired:
        return Batch(batch.study_ids, volumes, keys=keys)
    ids = torch.randint(1, 20, (SIZE, 3, 2, 5), generator=generator)[rows]
    labels = torch.randint(-1, 2, (SIZE, 3), generator=generator)
    labels[1::2] = -1
    slots = {"opposites": Tokens(ids, torch.ones_like(ids, dtype=torch.bool)), "opposite_labels": labels[rows]}
    return replace(batch, images=volumes, text_features=None, keys=keys, report=batch.tokens, **slots)


def share_of(world: World, name: str) -> tuple[Batch, list[str]]:
    """This process's samples, and the studies of all, as the loader gives them."""
    names = [f"study-{row}" for rank in range(world.size) for row in range(rank, SIZE, world.size)]
    rows = slice(world.rank, None, world.size)
    batch = make_batch(rows, padded="padded" in name)
    return with_volumes(batch, rows, not name.endswith("alone")) if name.startswith("colipri") else batch, names


def one_step(name: str, parallel: Any, micro: int | None, batch_norm: Any, world: World) -> dict[str, Tensor]:
    """Return loss, gradients, norm, weights after a step of AdamW and its state, all whole."""
    method = make_method(name)
    config = OptimisationConfig(micro_batch_size=micro, batch_norm=batch_norm, learning_rate=1e-2)
    spread = Spread(method, config, parallel, world, trains_text=name.endswith("trained-text") or name.startswith("colipri"))
    optimiser = build_optimiser(method, config)
    batch, names = share_of(world, name)
    losses = spread.losses(batch, names)
    losses.total.backward()
    found = {"loss": losses.total.detach()}
    for key, parameter in method.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        found[f"gradient {key}"] = gradient.full_tensor() if hasattr(gradient, "full_tensor") else gradient.clone()
    found["norm"] = clip_gradients(method, 0.5)
    optimiser.step()
    state, shares = optimiser_state(optimiser), copy.deepcopy(optimiser.state_dict()["state"])
    load_optimiser_state(optimiser, state)
    for number, values in optimiser.state_dict()["state"].items():
        assert all(torch.equal(local(value), local(shares[number][key])) for key, value in values.items())
    for number, values in state["state"].items():
        found |= {f"moment {number} {key}": value for key, value in values.items()}
    found |= {f"weight {key}": value.detach().clone() for key, value in spread.weights().items()}
    whole = spread.whole()
    if world.is_main:
        assert all(torch.equal(value, found[f"weight {key}"]) for key, value in whole.state_dict().items())
    return found


def local(value: Tensor) -> Tensor:
    """This process's share of a tensor."""
    return value.to_local() if hasattr(value, "to_local") else value


def batch_norm_of_uneven_shares(world: World) -> dict[str, Tensor]:
    """Three steps of a batch norm on 7 rows, of which the first process has 5; then once in evaluation mode."""
    found: dict[str, Tensor] = {}
    for kind, momentum, shape in ((nn.BatchNorm1d, 0.1, ()), (nn.BatchNorm2d, None, (4, 3)), (nn.BatchNorm1d, 0.3, (6,))):
        torch.manual_seed(2)
        norm = kind(3, momentum=momentum, affine=momentum != 0.3).double()
        if norm.affine:
            nn.init.normal_(norm.weight)
        values = (3 + 2 * torch.randn(7, 3, *shape, dtype=torch.float64)).requires_grad_()
        pull = torch.randn_like(values)
        own = slice(None) if world.size == 1 else (slice(0, 5), slice(5, 7))[world.rank]
        layer = norm if world.size == 1 else GlobalBatchNorm(norm)
        for _ in range(3):
            (layer(values[own]) * pull[own]).sum().backward()
        name = f"{kind.__name__} {momentum}"
        found |= {f"{name} gradient": values.grad[own], f"{name} output": layer(values[own]).detach()}
        found |= {f"{name} sum of {key}": parameter.grad for key, parameter in layer.named_parameters()}
        found |= {f"{name} {key}": value for key, value in layer.state_dict().items()}
        found[f"{name} evaluated"] = layer.eval()(values[own]).detach()
    return found


def everything(world: World, more: bool = False) -> dict[str, dict[str, Tensor]]:
    """Results of all cases, or of those for the long tests; one process with the micro-batch that two have together."""
    found = {} if more else {"batch norm": batch_norm_of_uneven_shares(world)}
    for name, parallel, micro, batch_norm in sorted(more_cases(), key=str) if more else cases():
        size = None if micro is None else micro * 2 // world.size
        found[f"{name} {parallel} {micro} {batch_norm}"] = one_step(name, parallel, size, batch_norm, world)
    return found


def make_trainer(world: World, run: Path, parallel: Any, seed: int = 0) -> Trainer:
    """Make a trainer of six steps with validation, accumulation, and a checkpoint every second step; no dropout."""
    torch.manual_seed(seed)
    store: Any = tiny.FakeStore(40)
    transform = ImageTransform(AugmentConfig(), tiny.SIDE)
    build = BatchBuilder(store, transform, seed=3, text=TextPlan("mixed", lookup=tiny.features_of))
    loader = TrainingLoader(build, BatchOrder(np.arange(40), 8, seed=3), world)
    whole = TrainingLoader(build, BatchOrder(np.arange(40), 8, seed=3))
    optimisation = OptimisationConfig(batch_size=8, learning_rate=1e-2, warmup=0, micro_batch_size=4 // world.size)
    every = {"log_every": 2, "validate_every": 2, "checkpoint_every": 2, "keep": 5}
    runtime = RuntimeConfig(precision="fp32", parallel=parallel, **every)
    validation = Validation(batches=[lambda: whole.batch(30).batch])
    run.mkdir(exist_ok=True)
    trainer = Trainer(tiny.TinyMethod(), loader, 6, optimisation, runtime, run, CPU, world, validation)
    trainer.method.tower[3].p = 0.0
    return trainer


def trained(world: World, run: Path, parallel: Any) -> dict[str, Any]:
    """Train six steps, then once more from step 2; return weights and studies per step."""
    seen: list[list[str]] = []

    def make(seed: int) -> Trainer:
        trainer = make_trainer(world, run, parallel, seed)
        step = trainer._step
        trainer._step = lambda item: seen.append(item.batch.study_ids) or step(item)
        return trainer

    straight = make(0)
    straight.run()
    wait_for_all()
    resumed = make(1)
    resumed.restore(2)
    resumed.run()
    return {
        "straight": straight.spread.weights(),
        "resumed": resumed.spread.weights(),
        "best": (straight.best, resumed.best),
        "studies": seen,
    }


def poisoned(world: World, run: Path, parallel: Any) -> dict[str, Any]:
    """Put a NaN into one image of the last process in the fourth step; return what is said, and the study it came from."""
    trainer, guilty = make_trainer(world, run, parallel), []
    step = trainer._step

    def with_nan(item: Any) -> Any:
        if item.step == 3:
            guilty.append(item.study_ids[-3])
            if world.rank == world.size - 1:
                item.batch.images[-3, 0, 2, 2] = float("nan")
        return step(item)

    trainer._step = with_nan
    try:
        trainer.run()
    except UserError as error:
        return {"said": str(error), "guilty": guilty[0], "checkpoints": trainer.checkpoints.steps(), "done": trainer.done}
    return {}


def signalled(world: World, run: Path, parallel: Any) -> dict[str, Any]:
    """Send SIGTERM to the last process alone in the third step, then go on; return steps done at the stop and weights."""
    trainer = make_trainer(world, run, parallel)
    step = trainer._step

    def with_signal(item: Any) -> Any:
        if item.step == 2 and world.rank == world.size - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(item)

    trainer._step = with_signal
    try:
        trainer.run()
    except KeyboardInterrupt:
        wait_for_all()
    resumed = make_trainer(world, run, parallel, seed=1)
    resumed.restore(resumed.checkpoints.steps()[-1])
    begun = resumed.done
    resumed.run()
    return {"stopped": trainer.done, "begun": begun, "weights": resumed.spread.weights()}


def main(folder: Path, more: bool = False) -> None:
    """Write `rank-R.pt`."""
    world = world_from_environment()
    with process_group(world, CPU):
        found: dict[str, Any] = everything(world, more)
        for parallel in () if more else ("ddp", "fsdp"):
            found[parallel] = trained(world, folder / parallel, parallel)
            found[f"{parallel} poisoned"] = poisoned(world, folder / f"{parallel}-poisoned", parallel)
            found[f"{parallel} signalled"] = signalled(world, folder / f"{parallel}-signalled", parallel)
        torch.save(found, folder / f"rank-{world.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), more="more" in sys.argv[2:])
