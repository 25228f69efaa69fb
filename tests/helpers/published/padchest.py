"""PadChest: five images of four studies."""

from __future__ import annotations

from pathlib import Path

from miniatures import write_picture, write_text

PERSON = ("StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM")

HEAD = ",".join(["", "ImageID", "ImageDir", *PERSON, "Projection", "ReportID", "Report", "MethodLabel", "Labels"])

ROWS = [
    "0,a_1.png,0,20140915,s1,p1,1930.0,F,PA,1, sin hallazg ,Physician,\"['normal']\"",
    "1,a_2.png,0,20140915,s1,p1,1930.0,F,L,1, sin hallazg ,Physician,\"['normal']\"",
    "2,b_1.png,36,20150101,s2,p2,,None,AP_horizontal,2,derram .,RNN_model,\"[' pleural effusion', 'Nodule', 'nodule', '']\"",
    "3,c_1.png,36,20150101,s3,p2,2016,M,COSTAL,3,,Physician,\"['exclude', 'unchanged']\"",
    "4,d_1.png,54,20150101,s4,p3,1950,M,UNK,4,,Physician,",
]


def mini(root: Path, flat: bool = False) -> Path:
    write_text(root / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz", "\n".join([HEAD, *ROWS]))
    for row in ROWS:
        name, folder = row.split(",")[1:3]
        write_picture(root / ("images" if flat else folder) / name)
    return root
