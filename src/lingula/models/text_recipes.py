"""Published text encoders by name: where they are, the pinned revision, and the pooling they were published with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lingula.core.errors import UserError

PoolingKind = Literal["mean", "cls", "projection"]
"""Mean over all tokens, the first token, or the first token through the model's own projection head, of unit length."""


@dataclass(frozen=True)
class TextRecipe:
    """A published text encoder.

    Args:
        hub: Its hub name.
        revision: The commit that is used; None where none could be established, so that the user must name one.
        pooling: How its authors (or those who froze it) take one vector per text.
        dimension: Features that this gives.
        max_tokens: Longest text it was made for.
        paper: Where it is described.
    """

    hub: str
    revision: str | None
    pooling: PoolingKind
    dimension: int
    max_tokens: int
    paper: str


RECIPES: dict[str, TextRecipe] = {
    "cxr-bert-general": TextRecipe(
        hub="microsoft/BiomedVLP-CXR-BERT-general",
        revision=None,
        pooling="cls",
        dimension=768,
        max_tokens=512,
        paper="Boecking et al. 2022, arXiv 2204.09817; [CLS] as in M-FLAG",
    ),
    "cxr-bert-specialized": TextRecipe(
        hub="microsoft/BiomedVLP-CXR-BERT-specialized",
        revision="f1cc2c6b7fac60f3724037746a129a5baf194dbc",
        pooling="projection",
        dimension=128,
        max_tokens=512,
        paper="Boecking et al. 2022, arXiv 2204.09817; [CLS] through the joint projection head",
    ),
    "bio-clinical-bert": TextRecipe(
        hub="emilyalsentzer/Bio_ClinicalBERT",
        revision="d5892b39a4adaed74b92212a44081509db72f87b",
        pooling="mean",
        dimension=768,
        max_tokens=512,
        paper="Alsentzer et al. 2019, arXiv 1904.03323; publishes no sentence vector, so the mean over tokens",
    ),
    "pubmed-bert": TextRecipe(
        hub="microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext",
        revision="e1354b7a3a09615f6aba48dfad4b7a613eef7062",
        pooling="mean",
        dimension=768,
        max_tokens=512,
        paper="Gu et al. 2021, arXiv 2007.15779; publishes no sentence vector, so the mean over tokens",
    ),
}
"""`text_encoder.name` to the recipe."""


def pinned_revision(name: str, revision: str | None) -> str:
    """Return the revision to fetch for a recipe: the user's, else the pinned one.

    Args:
        name: A name in `RECIPES`.
        revision: What the user gave.

    Raises:
        UserError: Neither is known; the newest state of a hub model is never taken silently.
    """
    recipe = RECIPES[name]
    found = revision or recipe.revision
    if found is None:
        remedy = "Give text_encoder.revision (a commit, or main for the newest), or text_encoder.folder with its files."
        raise UserError(f"no revision of {recipe.hub} is pinned for the text encoder '{name}'", remedy)
    return found
