from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from ct_volumes import chest
from miniatures import write_text
from volume_miniatures import LPS, SHAPE, nnunet, organ, prepared_volumes, save_volume

from lingula.cli import main
from lingula.core.errors import UserError
from lingula.data.sources.nnunet import NnunetSource
from lingula.data.sources.public import PublicConfig

ALLOW = PublicConfig(allow_missing=True)


def test_the_published_layout(tmp_path: Path) -> None:
    source = NnunetSource(nnunet(tmp_path / "Dataset003_Liver"))
    assert source.licence == "CC BY-SA 4.0"
    store = prepared_volumes(source, tmp_path / "store")
    assert (len(store), store.about["quarantined"]) == (4, 0)
    rows = {name: row for row, name in enumerate(store.column("study_id"))}
    assert {name: [region.finding for region in store.regions(row)] for name, row in rows.items()} == {
        "liver_0": ["liver"],
        "liver_1": ["liver", "tumour"],
        "liver_2": ["liver", "tumour"],
        "liver_100": [],
    }
    second = rows["liver_1"]
    liver, tumour = (store.mask(second, number) for number in range(2))
    np.testing.assert_array_equal(liver, organ(tumour=True)[::-1, ::-1] > 0)
    np.testing.assert_array_equal(tumour, organ(tumour=True)[::-1, ::-1] == 2)
    assert store.regions(second)[1].box == (40 - 15, 30 - 16, 10, 40 - 12, 30 - 13, 13)
    np.testing.assert_array_equal(store.volume(second).voxels, chest(SHAPE, seed=1)[::-1, ::-1])
    assert dict(store.column("extra")[second]) == {}


def test_test_is_images_ts_and_val_a_tenth_of_training(tmp_path: Path) -> None:
    root = nnunet(tmp_path, train=10, test=2)
    splits = {study.study_id: study.split for study in NnunetSource(root)}
    assert {name for name, split in splits.items() if split == "test"} == {"liver_100", "liver_101"}
    assert sum(split == "val" for split in splits.values()) == 1
    assert sum(study.split == "train" for study in NnunetSource(root, PublicConfig(split="published"))) == 10


def test_only_channels_of_ct_are_taken(tmp_path: Path) -> None:
    source = NnunetSource(nnunet(tmp_path / "two", channels=("PET", "CT")))
    assert [image.path for image in next(iter(source)).images] == ["imagesTr/liver_0_0001.nii.gz"]
    assert source.skipped["channel of a case that is no CT"] == 4
    with pytest.raises(UserError, match=r"has no CT: its channels are T1, T2"):
        NnunetSource(nnunet(tmp_path / "mr", channels=("T1", "T2")))


def test_voxels_to_ignore_give_no_region_and_unknown_ones_no_mask_at_all(tmp_path: Path) -> None:
    labels = {"background": 0, "liver": 1, "ignore": 2}
    root = nnunet(tmp_path, labels=labels)
    source = NnunetSource(root)
    studies = list(source)
    assert [region.finding for region in source.read(studies[1], 0).regions] == ["liver"]
    np.testing.assert_array_equal(source.read(studies[1], 0).masks[0], organ(tumour=True) == 1)
    del labels["ignore"]
    scan = NnunetSource(nnunet(tmp_path, labels=labels)).read(studies[1], 0)
    assert scan.regions == []
    assert scan.problems == [("labelsTr/liver_1.nii.gz", "mask: it holds 2, which dataset.json does not name")]


def test_a_mask_on_another_grid_or_broken_leaves_the_volume(tmp_path: Path) -> None:
    root = nnunet(tmp_path / "data")
    save_volume(root / "labelsTr/liver_0.nii.gz", organ(tumour=False)[:, :, 1:], LPS)
    (root / "labelsTr/liver_1.nii.gz").write_bytes(b"nothing")
    store = prepared_volumes(NnunetSource(root), tmp_path / "store")
    assert (len(store), store.about["quarantined"]) == (4, 2)
    assert any("not on the grid" in reason for reason in store.about["quarantine_reasons"])


def test_half_a_download(tmp_path: Path) -> None:
    root = nnunet(tmp_path)
    (root / "labelsTr/liver_1.nii.gz").unlink()
    with pytest.raises(UserError, match=r"1 of 3 training cases have no mask \(first: 'liver_1'\)"):
        NnunetSource(root)
    source = NnunetSource(root, ALLOW)
    assert source.skipped["training case without a mask file"] == 1
    assert source.read(list(source)[1], 0).regions == []
    (root / "imagesTr/liver_1_0000.nii.gz").unlink()
    with pytest.raises(UserError, match=r"has 2 training cases, dataset.json says 3"):
        NnunetSource(root)
    (root / "imagesTr/liver_2_0000.nii.gz").unlink()
    assert {study.study_id for study in NnunetSource(root, ALLOW)} == {"liver_0", "liver_100"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"file_ending": ".png"}, r"files end in '.png'"),
        ({"labels": {"background": 0}}, r"names no label but the background"),
        ({"labels": {"0": "background", "1": "liver"}}, r"are not names with numbers"),
        ({"numTraining": None}, r"no numTraining"),
        ({"dataset": {}}, r"under 'dataset'"),
    ],
)
def test_another_dataset_json(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        NnunetSource(nnunet(tmp_path, **changed))


def test_the_decathlons_own_layout_and_a_wrong_root(tmp_path: Path) -> None:
    root = nnunet(tmp_path / "raw/Dataset003_Liver")
    with pytest.raises(UserError, match=r"dataset.json is not in .*Give --root .*Dataset003_Liver"):
        NnunetSource(tmp_path / "raw")
    write_text(root / "dataset.json", json.dumps({"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver"}}))
    with pytest.raises(UserError, match=r"nnUNetv2_convert_MSD_dataset"):
        NnunetSource(root)
    write_text(root / "dataset.json", "[")
    with pytest.raises(UserError, match=r"is no JSON"):
        NnunetSource(root)


def test_a_pickled_source_reads_masks(tmp_path: Path) -> None:
    source = NnunetSource(nnunet(tmp_path))
    study = list(source)[1]
    data = pickle.dumps(source)
    assert b"liver_2" not in data
    assert len(pickle.loads(data).read(study, 0).masks) == 2


def test_the_command_needs_no_projection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "prepare", "nnunet", "--root", str(nnunet(tmp_path / "d")), "--store", str(tmp_path / "s")]
    main([*words, "--workers", "1"])
    assert "4 images, 0 images with text, 4 studies, 4 patients" in capsys.readouterr().out
