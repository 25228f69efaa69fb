"""The published package colipri 0.1.3, run on small made-up weights; for the environment of tests/compat/pyproject.toml.

    python published.py dump FOLDER            weights and inputs at random, and what the package makes of them
    python published.py backbone FOLDER        its backbone with register tokens, whole and with most patches dropped
    python published.py read FOLDER            what it makes of FOLDER/ours.safetensors and those inputs
    python published.py process FOLDER FILE…   what its processor makes of volumes, in both orientations, then its probabilities
    python published.py nnunet FOLDER          the tokens that Primus, as nnU-Net builds it, gives with FOLDER/nnunet.pth
    python published.py names FILE             names and shapes of the released model's state dict
    python published.py golden FILE            summaries for tests/golden/colipri (see its README)

Nothing is downloaded: the text encoder is built from its sizes instead of from the hub.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nibabel
import numpy as np
import torch
from accelerate import init_empty_weights
from colipri import get_model, get_processor
from colipri.checkpoint import load_model_config
from dynamic_network_architectures.architectures.primus import Primus
from hydra.utils import instantiate
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

WINDOW = (32, 24, 16)
"""Voxels along x, y and z that the small backbone is built for; not cubic, so that swapped axes show."""
TEMPERATURE = 0.07
REGISTERS = 2
SMALL = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
SMALL |= {"vocab_size": 100, "max_position_embeddings": 64}
RELEASED = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
RELEASED |= {"vocab_size": 30522, "max_position_embeddings": 512}


def bert(sizes):
    config = {"_target_": "transformers.BertConfig", **sizes}
    return OmegaConf.create({"_target_": "transformers.BertModel", "config": config, "add_pooling_layer": False})


def small_config(shape=WINDOW):
    backbone = "model.image_encoder.backbone"
    overrides = ["image_embed_dim=72", "projection_dim=48", f"{backbone}.eva_depth=2", f"{backbone}.eva_numheads=4"]
    overrides += [f"{backbone}.input_shape={list(shape)}", "model.image_encoder.pooler.num_heads=4"]
    config = load_model_config(overrides=[*overrides, "model.text_encoder.pooler.num_heads=4"])
    OmegaConf.update(config, "text_encoder.backbone", bert(SMALL), merge=False)
    return config


def is_scale(name):
    return name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "LayerNorm.weight", "gamma_1", "gamma_2"))


def fill(model, numbers):
    """Fill weights with numbers of size one: matrices divided by the root of their inputs, scales about 1, biases about 0."""
    with torch.no_grad():
        for n, (name, value) in enumerate(sorted(model.named_parameters())):
            drawn = numbers(n, tuple(value.shape))
            if value.ndim > 1:
                value.copy_(drawn / (value.numel() / len(value)) ** 0.5)
            else:
                value.copy_(float(is_scale(name)) + 0.1 * drawn)
    model.softmax_temperature = torch.tensor(TEMPERATURE)  # the package makes a whole number, which cannot hold it


def wave(shape, frequency, shift):
    k = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return torch.sin(frequency * k + 0.001 * (k % 9973) ** 2 + shift).reshape(shape)


def outputs(model, inputs):
    image, large, ids, mask = (inputs[name] for name in ("image", "large", "ids", "mask"))
    with torch.no_grad():
        made = {
            "backbone": model.encode_image(image),
            "backbone_normalised": model.encode_image(image, normalize=True),
            "dense": model.encode_image(image, project=True),
            "dense_normalised": model.encode_image(image, project=True, normalize=True),
            "pooled": model.encode_image(image, project=True, pool=True),
            "pooled_normalised": model.encode_image(image, project=True, pool=True, normalize=True),
            "window_backbone": model.encode_image(large, window_size=WINDOW),
            "window_dense": model.encode_image(large, project=True, window_size=WINDOW),
            "window_pooled": model.encode_image(large, project=True, pool=True, normalize=True, window_size=WINDOW),
            "text": model.encode_text(ids, mask),
            "text_raw": model.encode_text(ids, mask, normalize=False),
            "text_tokens": model.encode_text(ids, mask, pool=False, normalize=False),
            "text_tokens_normalised": model.encode_text(ids, mask, pool=False),
            "text_unmasked": model.encode_text(ids),
        }
        made["similarities_dense"] = model.compute_similarities(made["dense_normalised"], made["text"])
        made["similarities"] = model.compute_similarities(made["pooled_normalised"], made["text"])
        made["probabilities"] = model.classify(made["pooled_normalised"], made["text"])
    return {name: value.contiguous() for name, value in made.items()}


def random_inputs():
    numbers = torch.Generator().manual_seed(1)
    mask = torch.ones(3, 20, dtype=torch.long)
    mask[1, 7:], mask[2, 15:] = 0, 0
    return {
        "image": torch.rand(2, 1, *WINDOW, generator=numbers) * 2 - 1,
        "large": torch.rand(2, 1, 64, 40, 32, generator=numbers) * 2 - 1,
        "ids": torch.randint(0, SMALL["vocab_size"], (3, 20), generator=numbers),
        "mask": mask,
    }


def dump(folder):
    model, numbers = get_model(config=small_config(), pretrained=False), torch.Generator().manual_seed(0)
    fill(model, lambda _, shape: torch.randn(shape, generator=numbers))
    model.save_weights(folder / "theirs.safetensors")
    model.save_weights(folder / "theirs.pth")
    inputs = random_inputs()
    save_file(inputs, folder / "inputs.safetensors")
    save_file(outputs(model, inputs), folder / "theirs_outputs.safetensors")


class Keep(torch.nn.Module):
    """Stands where the package drops patches at random: keeps the ones it is told, the registers in front always."""

    def __init__(self, kept):
        super().__init__()
        self.kept = kept

    def forward(self, tokens):
        chosen = torch.take_along_dim(tokens[:, REGISTERS:], self.kept[..., None], dim=1)
        return torch.cat([tokens[:, :REGISTERS], chosen], dim=1), self.kept


def backbone(folder):
    config, numbers = small_config(), torch.Generator().manual_seed(2)
    config.image_encoder.backbone.num_register_tokens = REGISTERS
    model = get_model(config=config, pretrained=False)
    fill(model, lambda _, shape: torch.randn(shape, generator=numbers))
    primus, image = model.image_encoder.backbone, random_inputs()["image"]
    kept = torch.stack([torch.randperm(24, generator=numbers)[:7] for _ in range(2)])
    made = {f"weights.{name}": value for name, value in primus.state_dict().items()}
    with torch.no_grad():
        made |= {"kept": kept, "whole": primus(image)}
        dropped = []
        for volume, numbers in zip(
            image.split(1), kept.split(1), strict=True
        ):  # its rotations of dropped patches fit a batch of 1
            primus.eva.patch_drop = Keep(numbers)
            dropped.append(primus(volume))
        made["dropped"] = torch.cat(dropped)
    save_file({name: value.contiguous() for name, value in made.items()}, folder / "backbone.safetensors")


def read(folder):
    path, inputs = folder / "ours.safetensors", load_file(folder / "inputs.safetensors")
    save_file(outputs(get_model(path, config=small_config()), inputs), folder / "read_outputs.safetensors")
    other = get_model(config=small_config(), pretrained=False)
    other.softmax_temperature = torch.tensor(1.0)  # its load_weights copies into the whole number that it makes: 0.07 becomes 0
    other.load_weights(path)  # raises where a name is missing or unexpected
    save_file(outputs(other, inputs), folder / "loaded_outputs.safetensors")


def process(folder, files):
    model = get_model(folder / "theirs.safetensors", config=small_config((64, 64, 64)))
    inputs, made = load_file(folder / "inputs.safetensors"), {}
    for orientation in ("RAS", "SAR"):
        whole = get_processor(image_only=True, orientation=orientation)
        small = get_processor(image_only=True, orientation=orientation, input_size=64, spacing=6)
        for number, file in enumerate(files):
            images = whole.process_images(file)
            made[f"{orientation}_{number}"] = whole.to_images_batch(images)
            made[f"{orientation}_{number}_affine"] = torch.from_numpy(images[0].affine)
            batch = small.to_images_batch(small.process_images(file))
            with torch.no_grad():
                image = model.encode_image(batch, pool=True, project=True, normalize=True)
                made[f"{orientation}_{number}_latent"] = image
                text = model.encode_text(inputs["ids"], inputs["mask"])
                made[f"{orientation}_{number}_probabilities"] = model.classify(image, text)
    save_file({name: value.contiguous() for name, value in made.items()}, folder / "processed.safetensors")


def nnunet(folder):
    """Build the network that the plan in the checkpoint names, load all of its encoder, and give the tokens of an array."""
    content = torch.load(folder / "nnunet.pth", weights_only=True)
    plan = content["nnssl_adaptation_plan"]
    numbers = dict(plan["architecture_plans"]["arch_kwargs"])
    numbers["eva_depth"], numbers["eva_numheads"] = (numbers.pop(f"encoder_eva_{name}") for name in ("depth", "numheads"))
    shape = plan["recommended_downstream_patchsize"]
    network = Primus(plan["pretrain_num_input_channels"], num_classes=2, input_shape=shape, **numbers).eval()
    found = network.load_state_dict(content["network_weights"], strict=False)
    left = [name for name in found.missing_keys if not name.startswith("up_projection.")]
    if left or found.unexpected_keys:
        raise SystemExit(f"missing {left}, unexpected {found.unexpected_keys}")
    with torch.no_grad():
        patches = network.down_projection(load_file(folder / "array.safetensors")["array"])
        tokens, _ = network.eva(patches.flatten(2).transpose(1, 2))
    save_file({"tokens": tokens.transpose(1, 2).reshape(patches.shape).contiguous()}, folder / "nnunet.safetensors")


def released_names():
    config = load_model_config()
    OmegaConf.update(config, "text_encoder.backbone", bert(RELEASED), merge=False)
    with init_empty_weights():
        model = instantiate(config)
    return {name: list(value.shape) for name, value in sorted(model.state_dict().items())}


def summary(value):
    flat = value.double().flatten()
    checksum = (flat * torch.cos(torch.arange(len(flat), dtype=torch.float64))).sum()
    first, last = flat[:4].tolist(), flat[-2:].tolist()
    return {
        "shape": list(value.shape),
        "norm": flat.norm().item(),
        "cosine_checksum": checksum.item(),
        "first": first,
        "last": last,
    }


def golden_volume(path):
    """Write the volume of the golden numbers: oblique, left, back and head, whole HU."""
    hu = (-200 + 1100 * wave((40, 33, 27), 0.37, 0.1)).round().numpy().astype(np.int16)
    turn = np.array([[np.cos(0.1), -np.sin(0.1), 0], [np.sin(0.1), np.cos(0.1), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.9, -1.3, 2.6])
    affine[:3, 3] = [11, -7, 5]
    nibabel.save(nibabel.Nifti1Image(hu, affine), path)


def lines(values):
    return ",\n".join(f"{json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in values.items())


def golden(path):
    model = get_model(config=small_config(), pretrained=False)
    fill(model, lambda n, shape: wave(shape, 0.017 + 0.001 * n, 0.1 * n))
    inputs = random_inputs()
    inputs["image"] = wave((2, 1, *WINDOW), 0.37, 0.1).float()
    inputs["large"] = wave((2, 1, 64, 40, 32), 0.53, 0.2).float()
    inputs["ids"] = torch.arange(60).reshape(3, 20) * 7 % SMALL["vocab_size"]
    made = {"outputs": {name: summary(value) for name, value in outputs(model, inputs).items()}, "processor": {}}
    volume = path.with_suffix(".nii.gz")
    golden_volume(volume)
    for orientation in ("RAS", "SAR"):
        processor = get_processor(image_only=True, orientation=orientation, input_size=24)
        image = processor.process_images(str(volume))[0]
        made["processor"][orientation] = summary(image.data) | {"affine": image.affine.tolist()}
    volume.unlink()
    made["names"] = released_names()
    parts = [f'"{part}": {{\n{lines(values)}\n}}' for part, values in made.items()]
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    command, target, files = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    if command == "process":
        process(target, files)
    elif command == "names":
        target.write_text(json.dumps(released_names()))
    else:
        {"dump": dump, "backbone": backbone, "read": read, "nnunet": nnunet, "golden": golden}[command](target)
