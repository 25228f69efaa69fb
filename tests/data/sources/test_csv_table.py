from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lingula.core.errors import UserError
from lingula.data.readers import UnreadableImage
from lingula.data.sources.csv_config import CsvConfig
from lingula.data.sources.csv_table import CsvSource
from lingula.data.study import Study

MakeTable = Callable[..., Path]


def _studies(path: Path, **mapping: Any) -> list[Study]:
    return list(CsvSource(path, config=CsvConfig(**mapping)))


def test_a_table_with_images_alone_is_enough(make_table: MakeTable) -> None:
    (study,) = _studies(make_table([{"image": "a.png"}]))
    assert (study.study_id, study.patient_id, study.report, study.labels, study.split) == ("a.png", "a.png", None, {}, None)


def test_default_columns(twelve: Path) -> None:
    studies = _studies(twelve)
    assert len(studies) == 12
    one = studies[1]
    assert one.patient_id == "p0"
    assert one.report is not None
    assert one.report.sections == {"text": "Report 1. No effusion."}
    assert one.labels == {"Effusion": 1, "Nodule": 1}
    assert one.images[0].projection == "AP"
    assert one.extra == {"sex": "F", "age": "41", "view": "AP Supine"}
    assert one.licence == "CC0 1.0"
    assert [study.split for study in studies[:6]] == ["train", "train", "val", "val", "test", "test"]
    assert studies[0].labels == {"Effusion": 1, "Nodule": 0}
    assert studies[2].labels == {}
    assert studies[2].images[0].projection == "lateral"
    assert studies[3].images[0].projection == "unknown"
    assert studies[0].report is None


def test_unlisted_labels_may_be_unknown(twelve: Path) -> None:
    assert _studies(twelve, absent_label="unknown")[0].labels == {"Effusion": 1}


def test_separators_codes_groups_and_rare_labels(make_table: MakeTable) -> None:
    path = make_table(
        [
            {"image": "0.png", "labels": "A|B", "source": "one"},
            {"image": "1.png", "labels": "B; A, C", "source": "one"},
            {"image": "2.png", "labels": "A", "source": "two"},
            {"image": "3.png", "labels": "cui:C1;C2", "source": "two"},
            {"image": "4.png", "labels": "Unknown", "source": "two"},
            {"image": "5.png", "labels": "a,b", "source": "two"},
        ]
    )
    labels = [study.labels for study in _studies(path, min_label_count=2)]
    assert labels == [{"A": 1, "B": 1}, {"A": 1, "B": 1}, {"A": 1}, {}, {}, {"A": 0}]
    others = [study.extra.get("other_labels", "") for study in _studies(path, min_label_count=2)]
    assert others == ["", "C", "", "cui:C1;C2", "Unknown", "a,b"]
    assert _studies(path)[0].labels == {"A": 1, "B": 1, "C": 0}
    assert _studies(path, label_group_column="none")[2].labels == {"A": 1, "B": 0, "C": 0, "a,b": 0}


def test_one_column_per_finding(make_table: MakeTable) -> None:
    path = make_table([{"image": "0.png", "Edema": "1.0", "Mass": "-1.0"}, {"image": "1.png", "Edema": "0", "Mass": ""}])
    labels = [study.labels for study in _studies(path, finding_columns=("Edema", "Mass"))]
    assert labels == [{"Edema": 1, "Mass": -1}, {"Edema": 0, "Mass": None}]
    bad = make_table([{"image": "0.png", "Edema": "maybe"}], "bad/table.csv")
    with pytest.raises(UserError, match="row 1: 'maybe' in column 'Edema'"):
        _studies(bad, finding_columns=("Edema",))


def test_sections_come_before_text_and_in_reading_order(make_table: MakeTable) -> None:
    path = make_table(
        [
            {"image": "0.png", "impression": "Normal.", "findings": "Clear lungs.", "text": "whole"},
            {"image": "1.png", "text": "whole"},
        ]
    )
    one, two = _studies(path)
    assert one.report is not None
    assert list(one.report.sections.items()) == [("findings", "Clear lungs."), ("impression", "Normal.")]
    assert two.report is not None
    assert two.report.sections == {"text": "whole"}


def test_an_exported_report_is_cut_into_sections_and_the_signature_left_out(make_table: MakeTable) -> None:
    report = "INDICATION: Cough.\nFINDINGS: Clear lungs.\nIMPRESSION: Normal.\n\nElectronically signed by Dr. X"
    path = make_table(
        [
            {"image": "0.png", "report": report, "text": "whole", "findings": ""},
            {"image": "1.png", "report": report, "text": "whole", "findings": "Nodule."},
            {"image": "2.png", "report": "Clear lungs. Normal.", "text": "whole"},
            {"image": "3.png", "text": "whole"},
        ]
    )
    sections = [study.report.sections for study in _studies(path) if study.report]
    parsed = {"indication": "Cough.", "findings": "Clear lungs.", "impression": "Normal."}
    assert sections == [parsed, {"findings": "Nodule."}, {"text": "Clear lungs. Normal."}, {"text": "whole"}]
    assert list(sections[0]) == list(parsed)
    off, *_ = _studies(path, report_column="none")
    assert off.report is not None
    assert off.report.sections == {"text": "whole"}
    assert off.extra["report"] == report
    (kept, *_) = _studies(path, left_out_sections=("indication",))
    assert kept.report is not None
    assert set(kept.report.sections) == {"findings", "impression", "signature"}


def test_two_reports_of_a_study_follow_each_other(make_table: MakeTable) -> None:
    rows = [
        {"image": "0.png", "study_id": "s", "report": "FINDINGS: One.\nIMPRESSION: Same."},
        {"image": "1.png", "study_id": "s", "report": "FINDINGS: Two.\nIMPRESSION: Same."},
    ]
    (study,) = _studies(make_table(rows))
    assert study.report is not None
    assert study.report.sections == {"findings": "One.\n\nTwo.", "impression": "Same."}


def test_rows_with_one_study_id_are_one_study(make_table: MakeTable) -> None:
    rows = [
        {"image": "0.png", "study_id": "s1", "patient_id": "p", "text": "T.", "labels": "A", "view": "PA"},
        {"image": "1.png", "study_id": "s2", "patient_id": "p", "text": "", "labels": "A;B", "view": "PA"},
        {"image": "2.png", "study_id": "s1", "patient_id": "p", "text": "T.", "labels": "B", "view": "lateral"},
    ]
    first, second = _studies(make_table(rows))
    assert [image.path for image in first.images] == ["0.png", "2.png"]
    assert [image.projection for image in first.images] == ["PA", "lateral"]
    assert first.labels == {"A": 1, "B": 1}
    assert first.report is not None
    assert first.report.text == "T."
    assert second.study_id == "s2"
    rows[2]["patient_id"] = "q"
    with pytest.raises(UserError, match=r"study 's1' has two values of 'patient_id': p and q"):
        _studies(make_table(rows))


def test_image_listed_twice(make_table: MakeTable) -> None:
    with pytest.raises(UserError, match=r"lists image '0.png' twice"):
        _studies(make_table([{"image": "0.png"}, {"image": "0.png"}]))


def test_row_without_image(make_table: MakeTable) -> None:
    with pytest.raises(UserError, match="row 2: no image"):
        _studies(make_table([{"image": "0.png", "text": "x"}, {"image": "", "text": "y"}]))


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"text_column": "reprot"}, r"no column 'reprot' \(named by --text-column\).*Did you mean 'report'"),
        ({"finding_columns": ("Edma",)}, r"no column 'Edma'.*Did you mean 'Edema'"),
        ({"extra_columns": ("location",)}, "no column 'location'"),
        ({"image_column": "imge"}, r"no column 'imge'.*Did you mean 'image'"),
        ({"boxes_table": "box.csv"}, r"no such table: .*box.csv"),
    ],
)
def test_what_the_user_names_must_be_there(make_table: MakeTable, mapping: dict[str, Any], message: str) -> None:
    path = make_table([{"image": "0.png", "report": "x", "Edema": "1"}])
    with pytest.raises(UserError, match=message):
        _studies(path, **mapping)


def test_missing_table_and_folder(make_table: MakeTable, tmp_path: Path) -> None:
    path = make_table([{"image": "0.png"}])
    with pytest.raises(UserError, match=r"no such table: .*tabel.csv.*Did you mean 'table.csv'"):
        CsvSource(path.with_name("tabel.csv"))
    with pytest.raises(UserError, match=r"no such folder of images.*--root"):
        CsvSource(path, tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"none of the 1 images .*first: '0.png'.*--root"):
        CsvSource(path, tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"image,text\n", "has no row"),
        (b"image,image\na,b\n", "column 'image' twice"),
        (b"image,text\n0.png,a,b\n", "line 2: 3 cells under 2 columns"),
        (b"image,text\n0.png,\xff\xfe\n", "not UTF-8"),
        (b"image,text\n0.png," + b"x" * 200_000 + b"\n", "line 2: field larger"),
        (b'image,text\n0.png,"a\n', "line"),
    ],
)
def test_broken_tables(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        CsvSource(tmp_path / "t.csv")


def test_byte_order_mark_tabs_and_short_rows(tmp_path: Path) -> None:
    Image.new("L", (3, 3)).save(tmp_path / "0.png")
    (tmp_path / "t.tsv").write_bytes("\ufeffimage\ttext\tlabels\n0.png\tBlunted angle, left\n\n".encode())
    (study,) = CsvSource(tmp_path / "t.tsv")
    assert study.report is not None
    assert study.report.text == "Blunted angle, left"


@pytest.mark.parametrize("path", ["../secret.png", "images/../../secret.png", "/etc/hostname"])
def test_a_path_that_leaves_the_root_is_refused(make_table: MakeTable, tmp_path: Path, path: str) -> None:
    table = make_table([{"image": "0.png"}])
    Image.new("L", (3, 3)).save(tmp_path / "secret.png")
    table.write_text(f"image\n0.png\n{path}\n")
    source = CsvSource(table)
    with pytest.raises(UnreadableImage, match="leaves the root"):
        source.read(list(source)[1], 0)


def test_boxes_and_masks_lie_beside_the_table(make_table: MakeTable) -> None:
    path = make_table([{"image": "0.png", "text": "Tube in place. Small nodule, left."}])
    make_table(
        [
            {
                "image": "0.png",
                "kind": "pathology",
                "phrase": "nodule",
                "sentence": "Elsewhere. Small nodule, left.",
                "x1": 3,
                "y1": 4.5,
                "x2": 9,
                "y2": 8,
            },
            {
                "image": "0.png",
                "kind": "device",
                "phrase": "tube",
                "sentence": "Said elsewhere.",
                "x1": 0,
                "y1": 0,
                "x2": 2,
                "y2": 8,
            },
        ],
        "data/boxes.csv",
        images=False,
    )
    mask = np.zeros((40, 30), dtype=np.uint8)
    mask[10:20, 5:8] = 255
    Image.fromarray(mask).save(path.parent / "m.png")
    Image.fromarray(mask * 0).save(path.parent / "empty.png")
    rows = [{"image": "0.png", "mask": name, "label": "lung", "kind": "anatomy"} for name in ("m.png", "gone.png", "empty.png")]
    make_table(rows, "data/masks.csv", images=False)
    source = CsvSource(path)
    (study,) = source
    nodule, tube = study.regions[:2]
    assert (nodule.finding, nodule.kind, nodule.box, nodule.sentence_index) == ("nodule", "pathology", (3, 4.5, 9, 8), 1)
    assert tube.sentence_index is None
    picture = source.read(study, 0)
    assert [region.box for region in picture.regions] == [(5, 10, 8, 20)]
    assert picture.masks[0] is not None
    assert picture.masks[0].sum() == 30
    assert [path for path, _ in picture.problems] == ["gone.png", "empty.png"]
    (bare,) = _studies(path, boxes_table="none", masks_table="none")
    assert bare.regions == []


@pytest.mark.parametrize(("dialect", "first"), [("relative", "50 3 37 2"), ("absolute", "51 3 91 2")])
def test_masks_may_be_run_lengths(make_table: MakeTable, dialect: str, first: str) -> None:
    path = make_table([{"image": f"{number}.png"} for number in range(3)])
    cells = [("0.png", first), ("0.png", "1 2"), ("1.png", " -1"), ("2.png", "1 2 3"), ("2.png", "1199 2")]
    rows = ["image, rle,label", *(f"{image},{cell},Pneumothorax" for image, cell in cells)]
    (path.parent / "masks.csv").write_text("\n".join(rows))
    source = CsvSource(path, config=CsvConfig(rle_dialect=dialect))
    drawn, healthy, broken = (source.read(study, 0) for study in source)
    expected = np.zeros((40, 30), bool)
    expected[10:13, 1] = expected[10:12, 2] = True
    np.testing.assert_array_equal(drawn.masks[0], expected)
    assert drawn.regions[0].box == (1, 10, 3, 13)
    assert (drawn.regions[0].finding, len(drawn.regions)) == ("Pneumothorax", 2)
    assert healthy.regions == []
    assert healthy.problems == []
    assert {path for path, _ in broken.problems} == {"2.png"}
    assert "run lengths: 3 numbers are no pairs" in broken.problems[0][1]
    assert len(broken.problems) == (2 if dialect == "relative" else 1)


def test_boxes_of_unknown_images(make_table: MakeTable) -> None:
    path = make_table([{"image": "0.png"}])
    make_table([{"image": "1.png", "label": "a", "x1": 0, "y1": 0, "x2": 1, "y2": 1}], "data/boxes.csv", images=False)
    with pytest.raises(UserError, match=r"1 images with boxes or masks are not in .*first: '1.png'"):
        _studies(path)


def test_a_pickled_source_is_small_and_reads_on(twelve: Path) -> None:
    source = CsvSource(twelve)
    studies = list(source)
    data = pickle.dumps(source)
    assert b"Report 1" not in data
    copy = pickle.loads(data)
    np.testing.assert_array_equal(copy.read(studies[3], 0).pixels, source.read(studies[3], 0).pixels)
    assert list(copy) == studies
    assert copy.settings() == source.settings()


def test_settings_change_with_the_table(twelve: Path) -> None:
    before = CsvSource(twelve).settings()
    twelve.write_text(twelve.read_text().replace("Report 1.", "Report one."))
    assert CsvSource(twelve).settings() != before
