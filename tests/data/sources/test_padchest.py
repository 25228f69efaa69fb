from __future__ import annotations

from pathlib import Path

import pytest
from miniatures import prepared, write_text
from published.padchest import HEAD, ROWS, mini

from lingula.core.errors import UserError
from lingula.data.sources import padchest
from lingula.data.sources.padchest import PadchestSource


@pytest.mark.parametrize("flat", [False, True])
def test_the_published_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flat: bool) -> None:
    monkeypatch.setattr(padchest, "LEAST", 1)
    source = PadchestSource(mini(tmp_path / "in", flat))
    one, two, three, four = source
    assert [image.projection for image in one.images] == ["PA", "lateral"]
    assert one.report is not None
    assert one.report.sections == {"text": "sin hallazg"}
    assert one.labels == {"nodule": 0, "normal": 1, "pleural effusion": 0}
    assert two.labels == {"nodule": 1, "normal": 0, "pleural effusion": 1}
    assert three.labels == {}
    assert four.labels == {}
    assert one.extra == {"sex": "F", "age": "84", "method": "Physician", "view": "PA"}
    assert two.extra == {"method": "RNN_model", "view": "AP_horizontal"}
    assert "age" not in three.extra  # born after the picture
    assert two.split == three.split
    assert len(prepared(source, tmp_path / "store")) == 5


def test_images_of_two_patients_in_one_study_are_taken_apart(tmp_path: Path) -> None:
    root = mini(tmp_path)
    rows = [row.replace("s1,p1", "s1,p9") if row.startswith("1,") else row for row in ROWS]
    write_text(root / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz", "\n".join([HEAD, *rows]))
    source = PadchestSource(root)
    assert [(study.study_id, study.patient_id) for study in source][:2] == [("s1", "p1"), ("s1:p9", "p9")]
    assert sum(source.skipped.values()) == 1
    source.check_apart()


def test_rare_findings_are_absent_nowhere(tmp_path: Path) -> None:
    one, two, *_ = PadchestSource(mini(tmp_path))
    assert one.labels == {"normal": 1}
    assert two.labels == {"nodule": 1, "pleural effusion": 1}


@pytest.mark.parametrize("cell", ["__import__('os')", "nodule", "{'nodule': 1}"])
def test_a_cell_that_is_no_list_is_an_error_and_never_run(tmp_path: Path, cell: str) -> None:
    root = mini(tmp_path)
    write_text(root / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz", f'{HEAD}\n{ROWS[0]}\n{ROWS[4]}"{cell}"')
    with pytest.raises(UserError, match=r"padchest: d_1.png: .* in column 'Labels' is no list"):
        PadchestSource(root)
