"""The volume encoder written out in float64, patch by patch and head by head, to compare the fast one with."""

from __future__ import annotations

import itertools

import numpy as np

from lingula.models.volume_encoder import VolumeEncoder


def rotations(place: tuple[int, int, int], head_dim: int) -> np.ndarray:
    """Unit complex numbers that the pairs of a head are multiplied by at a place of the grid."""
    pairs = head_dim // 6
    return np.exp(1j * np.array([axis * 10_000.0 ** (-k / pairs) for axis in place for k in range(pairs)]))


def encode(encoder: VolumeEncoder, volume: np.ndarray, seen: list[int] | None = None) -> np.ndarray:
    """Tokens `tokens features` of one volume `channels x y z`; only patches in `seen` can be asked, all of them ask."""
    weights = {name: value.detach().double().numpy() for name, value in encoder.state_dict().items()}
    steps, heads = encoder.config.patch, encoder.config.num_heads
    places = list(itertools.product(*(range(side // step) for side, step in zip(volume.shape[1:], steps, strict=True))))
    patches = []
    for place in places:
        x, y, z = (slice(step * at, step * (at + 1)) for step, at in zip(steps, place, strict=True))
        patches.append(volume[:, x, y, z])
    kernel = weights["down_projection.proj.weight"]
    tokens = np.stack([(kernel * patch).sum(axis=(1, 2, 3, 4)) for patch in patches]) + weights["down_projection.proj.bias"]
    registers = weights["register_tokens"][0] if "register_tokens" in weights else np.zeros((0, tokens.shape[1]))
    count, head_dim = len(registers), tokens.shape[1] // heads
    tokens = np.concatenate([registers, tokens])
    turns = np.stack([np.ones(head_dim // 2)] * count + [rotations(place, head_dim) for place in places])
    hidden = np.ones(len(tokens), bool) if seen is not None else np.zeros(len(tokens), bool)
    hidden[list(range(count)) + [count + number for number in seen or []]] = False
    for number in range(encoder.config.depth):
        part = {
            name.removeprefix(f"eva.blocks.{number}."): value for name, value in weights.items() if f"blocks.{number}." in name
        }
        tokens = tokens + part["gamma_1"] * _attention(_norm(tokens, part, "norm1"), part, turns, hidden, heads)
        inner = _norm(tokens, part, "norm2")
        gate = _linear(inner, part, "mlp.fc1_g")
        gated = gate / (1 + np.exp(-gate)) * _linear(inner, part, "mlp.fc1_x")
        tokens = tokens + part["gamma_2"] * _linear(_norm(gated, part, "mlp.norm"), part, "mlp.fc2")
    return _norm(tokens, weights, "eva.norm")[count:]


def _attention(tokens: np.ndarray, part: dict, turns: np.ndarray, hidden: np.ndarray, heads: int) -> np.ndarray:
    size, mixed = tokens.shape[1] // heads, []
    queries, keys, values = (_linear(tokens, part, f"attn.{name}_proj") for name in "qkv")
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        asked = [(a[:, own][:, ::2] + 1j * a[:, own][:, 1::2]) * turns for a in (queries, keys)]
        scores = (asked[0] @ asked[1].conj().T).real / np.sqrt(size)
        scores[:, hidden] = -np.inf
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        mixed.append(shares / shares.sum(axis=1, keepdims=True) @ values[:, own])
    return _linear(_norm(np.concatenate(mixed, axis=1), part, "attn.norm"), part, "attn.proj")


def _linear(x: np.ndarray, part: dict, name: str) -> np.ndarray:
    return x @ part[f"{name}.weight"].T + part.get(f"{name}.bias", 0)


def _norm(x: np.ndarray, part: dict, name: str) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    return scaled * part[f"{name}.weight"] + part[f"{name}.bias"]
