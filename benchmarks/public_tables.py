"""What it takes to open a public data set of MIMIC-CXR's size: processor time and memory, on tables with synthetic ids.

python benchmarks/public_tables.py [--share 0.1]
"""

from __future__ import annotations

import argparse
import gzip
import random
import resource
import tempfile
import time
from pathlib import Path

from lingula.data.sources.chexpert import FINDINGS
from lingula.data.sources.mimic_cxr import MimicJpgSource

IMAGES, STUDIES = 377_110, 227_835
VALUES = ("", "1.0", "0.0", "-1.0")


def write_tables(folder: Path, share: float) -> None:
    """Write the three tables, three images to two studies, until the images are used up."""
    chance = random.Random(0)
    meta, split = ["dicom_id,subject_id,study_id,ViewPosition,Rows"], ["dicom_id,study_id,subject_id,split"]
    labels = [f"subject_id,study_id,{','.join(FINDINGS)}"]
    number = 0
    for study in range(round(STUDIES * share)):
        ids = f"{10_000_000 + study // 4},{50_000_000 + study}"
        labels.append(f"{ids},{','.join(chance.choice(VALUES) for _ in FINDINGS)}")
        for view in ("PA", "LATERAL")[: 2 if study % 3 else 1]:
            if number < round(IMAGES * share):
                name = "-".join([f"{number:08x}"] * 5)
                meta.append(f"{name},{ids},{view},3056")
                split.append(f"{name},{ids.split(',')[1]},{ids.split(',')[0]},{'train' if study // 4 % 50 else 'test'}")
                number += 1
    for table, lines in (("metadata", meta), ("split", split), ("chexpert", labels)):
        path = folder / f"mimic-cxr-2.0.0-{table}.csv.gz"
        path.write_bytes(gzip.compress("\n".join(lines).encode(), compresslevel=1))


def main() -> None:
    """Write, open, walk, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="share of MIMIC-CXR's size")
    share = parser.parse_args().share
    with tempfile.TemporaryDirectory() as folder:
        write_tables(Path(folder), share)
        start = time.process_time()
        source = MimicJpgSource(folder, tables_only=True)
        opened = time.process_time()
        images = sum(len(study.images) for study in source)
        walked = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{images:,} images, {len(source):,} studies")
    print(f"open {opened - start:.1f} CPU-s, walk {walked - opened:.1f} CPU-s, peak {peak:.2f} GB (written by the same process)")


if __name__ == "__main__":
    main()
