"""The phantom's patients as CT: the same people, facts and truth as on their radiographs."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest

from lingula.core.errors import UserError
from lingula.data.hounsfield import check_hounsfield
from lingula.data.phantom.ct_source import PhantomCtSource
from lingula.data.phantom.render import render_scan, render_volume, volume_grid
from lingula.data.phantom.source import PhantomSource
from lingula.data.text.sentences import split_sentences
from lingula.data.volume_storing import bounding_box


def test_patients_labels_and_splits_are_those_of_the_radiographs() -> None:
    ct, films = list(PhantomCtSource(30, 5, 8, seed=3)), list(PhantomSource(30, 5, 8, seed=3))
    for name in ("study_id", "patient_id", "labels", "split", "licence"):
        assert [getattr(study, name) for study in ct] == [getattr(study, name) for study in films]
    assert {(image.modality, image.projection) for study in ct for image in study.images} == {("ct", "CT")}
    assert [study.extra["sex"] for study in ct] == [study.extra["sex"] for study in films]


def test_reports_speak_of_a_ct() -> None:
    texts = [study.report.text.lower() for study in PhantomCtSource(300, 0, 100) if study.report]
    assert not any(re.search(r"\b(radiograph|film|projection|{|rotated)", text) for text in texts)
    opened = [text for text in texts if re.search(r"\b(ct|tomography|axial)\b", text)]
    assert 80 < len(opened) < 320


def test_a_scan_is_the_rendered_volume_with_its_place_masks_and_boxes() -> None:
    source = PhantomCtSource(12, 0, 0, spacing=8.0)
    regions = 0
    for study in source:
        scan, patient = source.read(study, 0), source.patient(study)
        hounsfield, masks = render_volume(patient, 8.0)
        np.testing.assert_array_equal(scan.volume.voxels, np.rint(hounsfield))
        check_hounsfield(scan.volume.voxels)
        grid = volume_grid(patient, 8.0)
        last = scan.volume.affine @ [*(np.array(hounsfield.shape) - 1), 1]
        np.testing.assert_allclose(last[:3], [grid.x.ravel()[-1], grid.y.ravel()[-1], grid.z.ravel()[-1]], atol=1e-3)
        found: dict[str, np.ndarray] = {}
        sentences = split_sentences(study.report.sections["findings"]) if study.report else []
        for region, mask in zip(scan.regions, scan.masks, strict=True):
            assert mask is not None
            assert region.box == bounding_box(mask)
            found[region.finding] = found.get(region.finding, np.zeros_like(mask)) | mask
            if region.sentence_index is not None:
                assert (
                    region.phrase in sentences[region.sentence_index].lower()
                    or region.phrase.lower() in sentences[region.sentence_index].lower()
                )
            assert study.labels[region.finding] == 1
            regions += 1
        assert {name for name, mask in masks.items() if mask.any()} == set(found)
        for name, mask in found.items():
            np.testing.assert_array_equal(mask, masks[name])
    assert regions > 10


def test_same_seed_same_bytes_also_after_travelling() -> None:
    source = PhantomCtSource(3, 0, 0, seed=2, spacing=9.0)
    study = list(source)[2]
    again = pickle.loads(pickle.dumps(source))
    first, second = source.read(study, 0), again.read(study, 0)
    np.testing.assert_array_equal(first.volume.voxels, second.volume.voxels)
    assert first.regions == second.regions
    assert source.settings() == again.settings()
    other = PhantomCtSource(3, 0, 0, seed=3, spacing=9.0)
    assert other.settings() != source.settings()
    assert other.patient(next(iter(other))) != source.patient(next(iter(source)))


def test_finer_voxels_show_the_same_patient() -> None:
    patient = PhantomCtSource(1, 0, 0).patient(next(iter(PhantomCtSource(1, 0, 0))))
    fine, coarse = (render_scan(patient, spacing) for spacing in (4.0, 8.0))
    lungs = [float((each.volume.voxels < -500).sum() * each.volume.spacing.prod()) for each in (fine, coarse)]
    assert lungs[0] == pytest.approx(lungs[1], rel=0.1)


@pytest.mark.parametrize("options", [{"train": -1}, {"seed": -1}, {"spacing": 0.5}, {"spacing": 20}])
def test_senseless_options_are_user_errors(options: dict[str, float]) -> None:
    with pytest.raises(UserError):
        PhantomCtSource(**options)  # type: ignore[arg-type]


def test_a_radiograph_is_no_ct_of_the_phantom() -> None:
    source = PhantomCtSource(1, 0, 0)
    with pytest.raises(UserError, match=r"not a CT of the phantom: phantom:train/0/0/(PA|AP)"):
        source.read(next(iter(PhantomSource(1, 0, 0))), 0)
    with pytest.raises(UserError, match="no projection 'CT'"):
        PhantomSource(1, 0, 0).read(next(iter(source)), 0)
