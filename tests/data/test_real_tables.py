"""The real label tables that the torchxrayvision wheel carries: what is published about them must come out of our sources."""

from __future__ import annotations

import gzip
import math
import zipfile
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from miniatures import write_text

from lingula.core.errors import UserError
from lingula.data.run_length import decode_rle
from lingula.data.sources.chexpert import FINDINGS, ChexpertSource
from lingula.data.sources.csv_regions import RLE
from lingula.data.sources.indiana import IndianaSource
from lingula.data.sources.nih import NihSource
from lingula.data.sources.padchest import PadchestSource
from lingula.data.sources.public import PublicConfig
from lingula.data.sources.rsna import PNEUMONIA, RsnaSource
from lingula.data.sources.siim import PNEUMOTHORAX, SiimSource
from lingula.data.sources.tables import read_table
from lingula.data.sources.vindr import VindrSource
from lingula.data.split_audit import Audit, audit
from lingula.data.study import Study

Link = Callable[..., Path]


@pytest.fixture
def link(tmp_path: Path) -> Link:
    """Return a function that puts tables of the wheel, under their published names, into a folder."""
    spec = find_spec("torchxrayvision")
    assert spec is not None, "the dependency group `tables` is not installed"
    assert spec.origin is not None
    tables = Path(spec.origin).parent / "data"

    def make(**names: str) -> Path:
        for published, packaged in names.items():
            suffix = "".join(Path(packaged).suffixes[-2:])
            (tmp_path / f"{published}{suffix}").symlink_to(tables / packaged)
        return tmp_path

    return make


def _counts(studies: list[Study]) -> Counter[str]:
    """Count how many studies have each finding."""
    return Counter(finding for study in studies for finding, value in study.labels.items() if value == 1)


def _images(found: Audit) -> tuple[int, ...]:
    return tuple(count["images"] for count in found.counts.values())


def _nih(link: Link) -> Path:
    """Put the tables of ChestX-ray14 into a folder; the official lists are not in the wheel, patients up to 24,000 are train."""
    root = link(Data_Entry_2017_v2020="Data_Entry_2017_v2020.csv.gz", BBox_List_2017="BBox_List_2017.csv.gz")
    lines = gzip.decompress((root / "Data_Entry_2017_v2020.csv.gz").read_bytes()).decode().splitlines()[1:]
    names = [line.split(",")[0] for line in lines]
    write_text(root / "train_val_list.txt", "\n".join(name for name in names if name < "00024000"))
    write_text(root / "test_list.txt", "\n".join(name for name in names if name >= "00024000"))
    return root


def test_nih(link: Link) -> None:
    source = NihSource(_nih(link), tables_only=True)
    found = audit(source)
    assert sum(_images(found)) == 112_120
    assert sum(count["patients"] for count in found.counts.values()) == 30_805
    assert found.patients == {}
    boxes: list[str] = []
    findings = Counter[str]()
    for study in source:
        findings.update(finding for finding, value in study.labels.items() if value == 1)
        boxes += [region.finding for region in study.regions]
    assert findings == {
        **{"No Finding": 60_361, "Infiltration": 19_894, "Effusion": 13_317, "Atelectasis": 11_559, "Nodule": 6_331},
        **{"Mass": 5_782, "Pneumothorax": 5_302, "Consolidation": 4_667, "Pleural_Thickening": 3_385, "Cardiomegaly": 2_776},
        **{"Emphysema": 2_516, "Edema": 2_303, "Fibrosis": 1_686, "Pneumonia": 1_431, "Hernia": 227},
    }
    assert len(boxes) == 984
    assert boxes.count("Infiltration") == 123
    assert source.skipped == {}


@pytest.mark.soak
def test_the_split_by_image_of_nih_leaks_patients(link: Link) -> None:
    source = NihSource(_nih(link), PublicConfig(split="kad"), tables_only=True)
    found = audit(source)
    assert found.counts["val"]["images"] == 8_652
    assert set(found.patients) == {("train", "val")}
    assert found.patients["train", "val"] > 0.7 * found.counts["val"]["patients"]
    with pytest.raises(UserError, match=r"split 'kad' of nih puts .* patients into two splits .*--split official"):
        source.check_apart()


def _chexpert(link: Link) -> Path:
    root = link(train="chexpert_train.csv.gz")
    row = "CheXpert-v1.0/valid/patient64541/study1/view1_frontal.jpg,Male,73,Frontal,AP"
    write_text(root / "valid.csv", f"Path,Sex,Age,Frontal/Lateral,AP/PA,{','.join(FINDINGS)}\n{row}{',0.0' * 14}")
    return root


@pytest.mark.soak
def test_chexpert(link: Link) -> None:
    """The paper's 65,240 patients and 224,316 images contain validation and test; its table of train has 223,414 rows."""
    source = ChexpertSource(_chexpert(link), tables_only=True)
    found = audit(source)
    assert sum(_images(found)) - 1 == 223_414
    assert sum(count["frontal"] for count in found.counts.values()) - 1 == 191_027
    assert sum(count["patients"] for count in found.counts.values()) - 1 == 64_540
    assert found.patients == {}
    assert found.counts["val"]["frontal"] in range(5_000, 5_020)
    assert found.counts["train"]["frontal"] == 191_027 - found.counts["val"]["frontal"]
    images: Counter[tuple[str, object]] = Counter()
    for study in source:
        images.update({(finding, value): len(study.images) for finding, value in study.labels.items()})
    assert [images[finding, 1] for finding in ("No Finding", "Cardiomegaly", "Edema", "Support Devices")] == [
        *(22_381, 27_000, 52_246, 116_001)
    ]
    assert [images["Atelectasis", value] - (value == 0) for value in (1, 0, -1, None)] == [33_376, 1_328, 33_739, 154_971]


@pytest.mark.soak
def test_the_validation_images_that_mgca_leaves_in_chexperts_train(link: Link) -> None:
    """MGCA's chexpert.py: 1,000 images set aside, 5,000 of the rest chosen by position and dropped by label."""
    table = read_table(_chexpert(link) / "train.csv.gz", only=("Path", "Frontal/Lateral", *FINDINGS))
    values = {finding: np.array([float(row[finding] or 0) for row in table.rows]) for finding in FINDINGS[1:]}
    frontal = np.array([row["Frontal/Lateral"] == "Frontal" for row in table.rows])
    aside: set[int] = set()
    for own in ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"):
        alone = np.flatnonzero(frontal & np.all([values[name] == (name == own) for name in values], axis=0))
        aside |= set(alone[np.random.RandomState(0).choice(len(alone), 200, replace=False)].tolist())
    labels = np.array([place for place in range(len(table.rows)) if place not in aside])
    positions = np.random.RandomState(0).choice(len(labels), 5000, replace=False)
    val, train = set(labels[positions].tolist()), set(labels.tolist()) - set(positions.tolist())
    patients = [{table.rows[place]["Path"].split("/")[2] for place in part} for part in (val, train)]
    assert (len(val & train), len(patients[0]), len(patients[0] & patients[1])) == (4_907, 4_576, 4_566)
    assert all(f"{count:,}" in ChexpertSource.rules["mgca"].leak for count in (4_907, 4_576, 4_566))


@pytest.mark.parametrize(
    ("rule", "sizes"),
    [
        ("mgca", (16_010, 5_337, 5_337)),
        pytest.param("mgca-code", (18_678, 4_003, 4_003), marks=pytest.mark.soak),
        pytest.param("benchx", (18_678, 4_003, 4_003), marks=pytest.mark.soak),
    ],
)
def test_rsna(link: Link, rule: str, sizes: tuple[int, int, int]) -> None:
    with zipfile.ZipFile(link(labels="kaggle_stage_2_train_labels.csv.zip") / "labels.csv.zip") as packed:
        packed.extractall(link())
    source = RsnaSource(link(), PublicConfig(split=rule), tables_only=True)
    found = audit(source)
    assert _images(found) == sizes == source.rule.sizes
    assert found.patients == {}
    studies = list(source)
    assert _counts(studies)[PNEUMONIA] == 6_012
    assert sum(len(study.regions) for study in studies) == 30_227 - (26_684 - 6_012)


def test_the_rows_of_run_lengths_that_mgca_splits_share_images(link: Link) -> None:
    """MGCA's draw (train_test_split of the table's rows, 30 %, then half, random_state 0), repeated on the real table."""
    packed = link(**{"train-rle": "siim-pneumothorax-train-rle.csv.gz"}) / "train-rle.csv.gz"
    names = [line.split(",")[0] for line in gzip.decompress(packed.read_bytes()).decode().splitlines()[1:]]
    order = np.random.RandomState(0).permutation(len(names))
    others, train = order[: math.ceil(0.3 * len(names))], order[math.ceil(0.3 * len(names)) :]
    second = np.random.RandomState(0).permutation(len(others))
    half = math.ceil(0.5 * len(others))
    parts = {"train": train, "val": others[second[:half]], "test": others[second[half:]]}
    images = {split: {names[place] for place in places} for split, places in parts.items()}
    shared = {pair: len(images[pair[0]] & images[pair[1]]) for pair in (("train", "test"), ("train", "val"), ("val", "test"))}
    assert shared == {("train", "test"): 154, ("train", "val"): 161, ("val", "test"): 62}
    assert all(str(count) in SiimSource.rules["mgca"].leak for count in shared.values())


def test_siim(link: Link) -> None:
    """The wheel's table is a hybrid: the header of the first stage (a blank before EncodedPixels), `-1` as in the second."""
    source = SiimSource(link(**{"train-rle": "siim-pneumothorax-train-rle.csv.gz"}), tables_only=True)
    found = audit(source)
    assert _images(found) == source.rule.sizes == (8_433, 1_807, 1_807)
    studies = list(source)
    assert sum(len(study.regions) for study in studies) == 3_576
    assert _counts(studies)[PNEUMOTHORAX] == 2_669
    masks = [region.mask for study in studies for region in study.regions]
    for mask in masks[:40]:
        assert mask is not None
        assert 0 < decode_rle(mask.removeprefix(RLE), 1024, 1024, "relative").mean() < 0.3


@pytest.mark.soak
def test_vindr(link: Link) -> None:
    """The Kaggle copy: 15,000 images of train, 14 findings, no diagnoses; the 3,000 test images have no labels there."""
    source = VindrSource(link(train="vinbigdata-train.csv.gz"), tables_only=True)
    assert _images(audit(source)) == (12_000, 3_000, 0)
    assert len(next(iter(source)).labels) == 15
    assert Counter(study.labels["No finding"] for study in source) == {0: 15_000 - 10_606, 1: 10_606}
    assert sum(case.positive for case, _ in source.cases()) == 4_394


@pytest.mark.soak
def test_padchest(link: Link) -> None:
    """The paper counts 109,931 studies; one StudyID holds images of two patients, which are two studies here."""
    name = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19"
    source = PadchestSource(link(**{name: f"{name}.csv.gz"}), tables_only=True)
    found = audit(source)
    assert sum(_images(found)) == 160_861
    assert sum(count["patients"] for count in found.counts.values()) == 67_625
    assert sum(count["studies"] for count in found.counts.values()) == 109_931 + 1
    assert found.patients == {}
    assert found.reports  # stemmed reports of normal patients repeat each other
    assert source.skipped == {"image of another patient than the rest of its study, taken for a study of its own": 1}


def test_indiana(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "NLMCXR_reports.tgz").symlink_to(shared / "data/cxr/reports/NLMCXR_reports.tgz")
    source = IndianaSource(tmp_path, tables_only=True)
    assert len(source) == 3_851
    assert sum(len(study.images) for study in source) == 7_470
    assert source.skipped == {"report without an image": 104}
