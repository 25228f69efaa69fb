"""From a table with telling names to the page: nothing that a run leaves behind or prints names a patient, a study or a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import lingula
from lingula.cli import main
from lingula.data.store import Store

SECRETS = ("DOE-JANE", "ACC-77")
SMALL = """
image_encoder: {name: test_resnet}
data: {image_size: 32}
text_encoder: {small: {vocabulary: 300, width: 16, steps: 2}}
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Sixty radiographs of thirty patients; the names of files, patients and studies tell who they are."""
    lines = ["image,study_id,patient_id,text,labels,split,sex"]
    generator = np.random.default_rng(0)
    for number in range(60):
        present = number // 2 % 2
        pixels = generator.integers(0, 128, (70, 50)) + 100 * present
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"DOE-JANE-{number}.png")
        text = f"{'There is an effusion' if present else 'No effusion'}. Heart {'large' if number % 3 else 'normal'} {number}."
        split = ("train", "valid", "test")[number // 4 % 3]
        word = "Effusion" if present else "No Finding"
        lines.append(f"DOE-JANE-{number}.png,ACC-77{number:02d},DOE-JANE-{number // 2},{text},{word},{split},F")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path / "table.csv"


def told(folder: Path) -> str:
    """Everything that the files of a run say, whatever their format."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    tables = "".join(str(pq.read_table(file).to_pylist()) for file in files if file.suffix == ".parquet")
    return tables + "".join(f"{file} " + file.read_bytes().decode("latin-1") for file in files)


def test_neither_terminal_nor_run_nor_page_names_anyone(table: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder, store = table.parent, str(table.parent / "store")
    run, broken, page = (str(folder / name) for name in ("run", "broken", "page.html"))
    main(["data", "prepare", "csv", "--table", str(table), "--store", store, "--size", "40", "--workers", "1"])
    main(["data", "describe", store])
    train = ["pretrain", "clip", "--store", store, "--config", str(folder / "small.yaml"), "--optimisation.batch-size", "8"]
    main([*train, "--run", run, "--optimisation.steps", "2"])
    tasks = ["--task", "zero-shot", "probe", "retrieve", "--bootstrap", "20", "--detail", "--against", "No Finding"]
    main(["evaluate", run, "--store", store, *tasks])
    main(["report", run, "--out", page])
    hot = ["--optimisation.steps", "9", "--optimisation.learning-rate", "1e30", "--optimisation.warmup", "0"]
    with pytest.raises(SystemExit) as left:
        main([*train, "--run", broken, *hot])
    assert left.value.code == 2
    out, err = capfd.readouterr()
    opened = Store.open(store)
    assert any(study in err for study in opened.column("study_id")), "the stop names the batch by the store's ids"
    everything = out + err + Path(page).read_text() + told(Path(run)) + told(Path(broken))
    assert "stopped.json" in everything
    assert [secret for secret in SECRETS if secret in everything] == []
    assert opened.column("path")[0].startswith("DOE-JANE")


def test_a_file_is_compared_as_its_stored_square(table: Path) -> None:
    folder, store = table.parent, table.parent / "store"
    main(["data", "prepare", "csv", "--table", str(table), "--store", str(store), "--size", "40", "--workers", "1"])
    train = ["pretrain", "clip", "--store", str(store), "--config", str(folder / "small.yaml"), "--run", str(folder / "run")]
    main([*train, "--optimisation.steps", "2", "--optimisation.batch-size", "8"])
    model, opened = lingula.load(folder / "run"), Store.open(store)
    files = [folder / path for path in opened.column("path")[:3]]
    squares = [np.array(opened.pixels(row)) for row in range(3)]
    np.testing.assert_array_equal(model.encode_image(files), model.encode_image(squares))
    assert model.heatmap(files[0], "effusion").shape == (70, 50)
