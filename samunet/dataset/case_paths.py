"""What `file_ending` says about a case's paths: files with that ending, or folders of frames where it is "/"."""

from __future__ import annotations

from pathlib import Path

# CASE_0000/ is the folder of frames CASE_0000; pathlib drops the trailing slash.
FRAME_FOLDER = "/"
VIDEO_ENDINGS = (".mp4", ".avi")
# Readers of samunet's own, whose slices are moments in time.
SEQUENCE_READERS = ("FrameFolderIO", "TiffSequenceIO", "VideoIO")


def label_ending(file_ending: str) -> str:
    """The ending of labels and predictions: the images' own; folders of frames for videos, as coding blurs labels."""
    return FRAME_FOLDER if file_ending.lower() in VIDEO_ENDINGS else file_ending


def is_there(path: Path, ending: str) -> bool:
    """Whether the image or label `path` exists, as a folder where `ending` is "/", else as a file."""
    return path.is_dir() if ending == FRAME_FOLDER else path.is_file()


def image_is_there(path: Path, ending: str) -> bool:
    """As `is_there`; where images are files, a folder may hold the DICOM series of a case."""
    return is_there(path, ending) or path.is_dir()
