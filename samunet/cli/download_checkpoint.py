"""samunet_download_checkpoint: download Meta's released SAM weights into the checkpoints folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from samunet.cli.main import command
from samunet.cli.options import command_parser
from samunet.console import result, say
from samunet.errors import UserError
from samunet.files import digest_of_file
from samunet.networks.checkpoints.download import fetch
from samunet.networks.checkpoints.released import (
    RELEASED_ADDRESS,
    RELEASED_FILES,
    SAM_LICENCE,
    checkpoint_files,
    checkpoints_folder,
    sha256_start,
)

EXAMPLES = """\
samunet_download_checkpoint vit_b                        358 MiB into the checkpoints folder
samunet_download_checkpoint vit_h --checkpoints /data/checkpoints
samunet_download_checkpoint --list                       available checkpoints, and those already downloaded"""


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_download_checkpoint",
        "Download the weights of Segment Anything that Meta released, and verify their SHA-256.\n"
        "Run the same command again to resume an interrupted download.",
        EXAMPLES,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help=f"one of {', '.join(RELEASED_FILES)}")
    parser.add_argument("--list", action="store_true",
                        help="list the available checkpoints and those already downloaded")
    parser.add_argument("--checkpoints", type=Path, metavar="FOLDER",
                        help="target folder (default: samunet_checkpoints if it is set, else samunet_data/checkpoints)")
    parser.add_argument("--url", metavar="URL", help="download the file from this URL instead of Meta's")
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    folder = options.checkpoints or checkpoints_folder()
    if options.list:
        result(listing(folder))
        return
    if options.name not in RELEASED_FILES:
        raise UserError("The checkpoint must be one that Meta released.", where="command line", found=str(options.name),
                        mend=f"Choose one of {', '.join(RELEASED_FILES)}; mini, untrained and pixels need no file.")
    name = RELEASED_FILES[options.name]
    target, start = folder / name, sha256_start(name)
    if start is None:
        raise ValueError(f"{name} has no SHA-256 in its name")
    if target.exists():
        _require_genuine(target, start)
        result(f"already downloaded, SHA-256 verified: {target}")
        return
    say(SAM_LICENCE)
    fetch(options.url or RELEASED_ADDRESS + name, target, start)
    result(f"downloaded, SHA-256 verified: {target}")


def listing(folder: Path) -> str:
    """One line for each of Meta's files, downloaded or not, and for each other checkpoint in `folder`."""
    sizes = {path.name: path.stat().st_size for path in checkpoint_files(folder)}
    lines = [f"{name}  {file:<20}  {_size(sizes[file]) if file in sizes else 'not downloaded'}"
             for name, file in RELEASED_FILES.items()]
    lines += [f"       {file:<20}  {_size(size)}, select it with --encoder {file}"
              for file, size in sizes.items() if file not in RELEASED_FILES.values()]
    return "\n".join([f"in {folder}:", *lines])


def _size(count: int) -> str:
    return f"downloaded, {count / 2**20:.0f} MiB"


def _require_genuine(path: Path, start: str) -> None:
    digest = digest_of_file(path)
    if not digest.startswith(start):
        raise UserError(f"A file named {path.name} must be Meta's: its SHA-256 must begin with {start}.", where=path,
                        found=f"SHA-256 {digest[:12]}...", mend="Remove or rename it, and run the command again.")
