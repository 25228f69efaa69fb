"""The command line: `lingula COMMAND …`; nothing heavy is imported before the arguments are parsed.

A command is a class with annotated fields (they become the options, their docstrings the help) and a `run()`.
Adding one is a class and a line in `COMMANDS`.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lingula.core.errors import UserError, nearest
from lingula.core.offline import go_offline


@dataclass(frozen=True)
class Command:
    """Where a command lives and what it does, in one line.

    Args:
        module: Module below `lingula.cli`, imported only when the command is called.
        name: Class in that module, or a function that makes one from the remaining arguments.
        summary: One line for `lingula --help`.
    """

    module: str
    name: str
    summary: str


COMMANDS: dict[str, Command] = {
    "demo": Command("demo", "Demo", "phantom patients -> CLIP and M-FLAG -> table and page, in 5 to 15 minutes"),
    "tour": Command("demo", "Tour", "phantom patients -> G2D, CLIP and M-FLAG -> every task, with overlays, on one page"),
    "data prepare csv": Command("prepare", "PrepareCsv", "make a store from your own table of images, text and labels"),
    "data prepare dicom": Command("prepare", "PrepareDicom", "make a store from a folder of DICOM radiographs or CT series"),
    "data prepare nifti": Command("prepare", "PrepareNifti", "make a store from a folder of CT volumes without a table"),
    "data prepare parquet": Command("containers", "PrepareParquet", "make a store from parquet files of Hugging Face datasets"),
    "data prepare webdataset": Command("containers", "PrepareWebDataset", "make a store from tar files as WebDataset has them"),
    "data prepare phantom": Command("prepare", "PreparePhantom", "make a store of synthetic patients with exact ground truth"),
    "data prepare mimic-cxr-jpg": Command("public", "PrepareMimicJpg", "MIMIC-CXR-JPG, with the reports of MIMIC-CXR"),
    "data prepare mimic-cxr": Command("public", "PrepareMimicDicom", "MIMIC-CXR as DICOM, with its reports"),
    "data prepare chexpert": Command("public", "PrepareChexpert", "CheXpert, with the reports of CheXpert Plus"),
    "data prepare indiana": Command("public", "PrepareIndiana", "Indiana University radiographs and reports (OpenI)"),
    "data prepare nih": Command("public", "PrepareNih", "NIH ChestX-ray14, with boxes"),
    "data prepare rsna": Command("public", "PrepareRsna", "RSNA Pneumonia Detection Challenge, with boxes"),
    "data prepare siim": Command("public", "PrepareSiim", "SIIM-ACR Pneumothorax Segmentation, with masks"),
    "data prepare covidx": Command("public", "PrepareCovidx", "COVIDx"),
    "data prepare object-cxr": Command("public", "PrepareObjectCxr", "Object-CXR, with masks of foreign objects"),
    "data prepare vindr-cxr": Command("public", "PrepareVindr", "VinDr-CXR, with boxes"),
    "data prepare padchest": Command("public", "PreparePadchest", "PadChest, with Spanish reports"),
    "data prepare ms-cxr": Command("public", "PrepareMsCxr", "MS-CXR: phrases with boxes in images of MIMIC-CXR"),
    "data prepare tbx11k": Command("public", "PrepareTbx11k", "TBX11K, with boxes"),
    "data prepare ct-rate": Command("public_volumes", "PrepareCtRate", "CT-RATE: chest CT with reports and 18 findings"),
    "data prepare rad-chestct": Command("public_volumes", "PrepareRadChestCt", "RAD-ChestCT: chest CT with findings"),
    "data prepare nlst": Command("public_volumes", "PrepareNlst", "NLST: low-dose chest CT of three screenings, with findings"),
    "data prepare bimcv-r": Command("public_volumes", "PrepareBimcvR", "BIMCV-R: chest CT with translated reports"),
    "data prepare merlin": Command("public_volumes", "PrepareMerlin", "Merlin: abdominal CT with reports and 30 findings"),
    "data prepare nnunet": Command(
        "public_volumes", "PrepareNnunet", "CT with masks in nnU-Net's raw layout (MSD, AMOS, KiTS, …)"
    ),
    "data audit": Command("public", "AuditSplits", "what is known about a public data set's splits, and whether they are apart"),
    "data describe": Command("data", "Describe", "count what is in a store"),
    "data label": Command("data", "Label", "read 14 or 18 findings out of a store's reports, by rules, into a table"),
    "data statements": Command("statements", "CutStatements", "cut a store's reports into short statements, by rules (.jsonl)"),
    "data verify": Command("data", "Verify", "check a store's hashes, patient overlap and duplicates"),
    "data show": Command("data", "Show", "draw a contact sheet of a store, or of the phantom"),
    "pretrain": Command("pretrain", "parse", "train clip, m-flag, g2d, colipri (CT) or a supervised model on a store"),
    "pretrain language-model": Command("language_model", "PretrainLanguageModel", "train the language model on reports"),
    "evaluate": Command(
        "evaluate", "Evaluate", "zero-shot, probe, retrieval, boxes, masks, grounding; with confidence intervals"
    ),
    "predict": Command("use", "Predict", "compare one image with prompts"),
    "show": Command("show", "Show", "draw where phrases lie in one image: attention, heat-map, ground truth"),
    "embed": Command("use", "Embed", "write the embeddings of a store or a folder to parquet"),
    "convert": Command("convert", "Convert", "turn a pickled checkpoint into safetensors without running its code"),
    "export": Command("export", "Export", "write a run's encoders as a file that the package colipri loads"),
    "report": Command("use", "WriteReport", "write the run's page, one self-contained HTML file"),
}

OFFLINE = "--offline"
"""Every command takes it: nothing is fetched from the network, what is not on this machine is an error."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code: 0 done, 2 something the user can mend, 130 interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if OFFLINE in words:
        go_offline()
    try:
        command, rest = _find([word for word in words if word != OFFLINE])
        with _readable_warnings():
            _load(command, rest).run()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


@contextmanager
def _readable_warnings() -> Iterator[None]:
    """Show warnings as one line without file and code, and none in which libraries speak to other libraries."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)
        usual = warnings.formatwarning
        warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
        try:
            yield
        finally:
            warnings.formatwarning = usual


def _find(arguments: list[str]) -> tuple[str, list[str]]:
    """Split the arguments into the command's name and the rest; answer --help and --version."""
    words = [word for word in arguments[:3] if not word.startswith("-")]
    for length in range(len(words), 0, -1):
        name = " ".join(arguments[:length])
        if name in COMMANDS:
            return name, arguments[length:]
    if "--version" in arguments:
        print(_version())
        sys.exit(0)
    if not words or set(arguments) & {"-h", "--help"} or any(name.startswith(" ".join(words) + " ") for name in COMMANDS):
        print(_overview(" ".join(words)))
        sys.exit(0 if set(arguments) & {"-h", "--help"} else 2)
    raise UserError(f"no such command: {' '.join(words)}", nearest(" ".join(words), COMMANDS) or "See lingula --help.")


def _load(name: str, arguments: list[str]) -> Any:
    """Import the command's module and parse its arguments."""
    command = COMMANDS[name]
    entry = getattr(importlib.import_module(f"lingula.cli.{command.module}"), command.name)
    if not isinstance(entry, type):
        return entry(arguments)
    return parse(entry, name, arguments)


def parse(command: type, name: str, arguments: list[str], **options: Any) -> Any:
    """Parse arguments into a command; a wrong option is one clear error and exit code 2."""
    import tyro
    from pydantic import ValidationError

    try:
        return tyro.cli(command, args=arguments, prog=f"lingula {name}", config=(tyro.conf.FlagCreatePairsOff,), **options)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + ".".join(map(str, first["loc"])).replace("_", "-") if first["loc"] else f"lingula {name}"
        raise UserError(f"{option}: {first['msg']} (got {first['input']!r})", f"See lingula {name} --help.") from None


def _overview(prefix: str = "") -> str:
    """List the commands that begin with a prefix."""
    known = {name: command.summary for name, command in COMMANDS.items()}
    chosen = {name: summary for name, summary in known.items() if name.startswith(prefix)} or known
    width = max(map(len, chosen)) + 2
    lines = ["usage: lingula COMMAND [options]      (lingula COMMAND --help lists the options)", ""]
    lines += [f"  {name:<{width}}{summary}" for name, summary in chosen.items()]
    return "\n".join([*lines, "", f"{OFFLINE} (or LINGULA_OFFLINE=1), with any command: never touch the network"])


def _version() -> str:
    from importlib.metadata import version

    return f"lingula {version('lingula')}"
