"""samunet_annotate: a page on this machine to annotate a folder of images by clicks, boxes and a brush."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from samunet.cli.figures import whole
from samunet.cli.main import command
from samunet.cli.options import command_parser
from samunet.errors import UserError

EXAMPLES = """\
samunet_annotate -i images -o raw/Dataset501_Tumour --labels tumour=1           brush and prompts, without a model
samunet_annotate -i images -o raw/Dataset501_Tumour -m results/Dataset501_Tumour/cnn_head__samunetPlans__mini-3
samunet_annotate -i images -o raw/Dataset501_Tumour -m MODEL --order uncertain  the most uncertain cases first"""


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_annotate",
        "Annotate a folder of images on a page of this machine (127.0.0.1), which needs the extra [annotate].\n"
        "Every change is saved at once. The output folder is a dataset that samunet_train takes; run the same command\n"
        "again to continue.",
        EXAMPLES,
    )
    parser.add_argument("-i", dest="input", type=Path, required=True, metavar="FOLDER",
                        help="folder of images: CASE_0000.nii.gz, ... or plain images, one a case")
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="FOLDER",
                        help="folder of the annotations, new or from an earlier call; name it DatasetXXX_Name to train "
                             "on it")
    parser.add_argument("-m", dest="model", type=Path, metavar="FOLDER",
                        help="folder of a trained model: a promptable one answers clicks and boxes, any other gives "
                             "each case its first mask (default: none)")
    parser.add_argument("--labels", nargs="+", type=_label, metavar="NAME=VALUE",
                        help="classes to annotate, numbered from 1 (default: those of the model or of the output "
                             "folder)")
    parser.add_argument("--order", choices=("name", "uncertain"), default="name",
                        help="order of the cases: by name, or the ones first of which the model is most uncertain "
                             "(default: %(default)s)")
    parser.add_argument("--port", type=whole(0, 65535), default=0, metavar="N",
                        help="port of the page (default: a free one)")
    parser.add_argument("--no_browser", action="store_true", help="only print the address of the page")
    parser.add_argument("-device", metavar="NAME", help="cpu, cuda or mps (default: cuda if available, else cpu)")
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    labels = dict(options.labels or ())
    if len(labels) < len(options.labels or ()):
        raise UserError("Every class must be named once.", where="--labels",
                        found=" ".join(f"{name}={value}" for name, value in options.labels))
    _require_packages()
    from samunet.annotation.annotate import AnnotationSettings, annotate

    settings = AnnotationSettings(options.input, options.output, options.model, labels or None, options.order,
                                  options.device)
    annotate(settings, options.port, browser=not options.no_browser)


def _label(text: str) -> tuple[str, int]:
    match = re.fullmatch(r"([^=\s][^=]{0,99})=([0-9]{1,5})", text)
    if not match or not match[1].isprintable() or match[1] in ("background", "ignore"):
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, such as tumour=1, not {text[:40]}")
    return match[1], int(match[2])


def _require_packages() -> None:
    """Refuse early where the extra is not installed."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as fault:
        raise UserError("samunet_annotate needs the extra [annotate].", where="installed packages", found=str(fault),
                        mend="pip install 'samunet[annotate]'") from fault
