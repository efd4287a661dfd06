"""Package metadata, console scripts and what samunet needs. Known-good versions are in constraints.txt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "([^"]+)"', (HERE / "samunet" / "__init__.py").read_text(encoding="utf-8")).group(1)

COMMANDS = (
    "extract_fingerprint",
    "plan_experiment",
    "preprocess",
    "plan_and_preprocess",
    "train",
    "add_support",
    "find_best_configuration",
    "predict",
    "calibrate",
    "annotate",
    "evaluate_folder",
    "evaluate_clicks",
    "evaluate_simple",
    "ensemble",
    "accumulate_crossval_results",
    "determine_postprocessing",
    "apply_postprocessing",
    "statistics",
    "plot_overlay_pngs",
    "export_model_to_zip",
    "install_pretrained_model_from_zip",
    "convert_MSD_dataset",
    "convert_old_nnUNet_dataset",
    "move_plans_between_datasets",
    "demo",
    "download_checkpoint",
    "cache",
    "pretrain_encoder",
    "benchmark",
    "info",
)

BASE = [
    "torch>=2.4",
    "torchvision>=0.19",  # segment-anything imports it; must be of the same release as torch
    "segment-anything>=1.0",
    "acvl-utils>=0.2.5",  # connected components, bounding boxes
    "batchgenerators>=0.25.1",
    "dynamic-network-architectures>=0.4",
    "SimpleITK>=2.3",
    "scipy>=1.11",
    "scikit-image>=0.22",
    "numpy>=1.26",
    "msgspec>=0.19",  # JSON from outside, decoded into typed dataclasses: no dependencies, imports in milliseconds
    "nibabel>=5.2",  # NIfTI headers and voxels as they are in the file: ITK repairs headers without a message
    "blosc2>=3.0",
    "safetensors>=0.4.3",
    "filelock>=4.2",
    "tifffile>=2023.9",
    "matplotlib>=3.10",
    "rich>=13.0",
    "argcomplete>=3.5",  # completion in shells: pure Python, no dependencies, imported by nothing else
]

EXTRAS = {
    # nnunetv2 2.8.1 imports distutils, which Python 3.12 and later have from setuptools only.
    "nnunet": ["nnunetv2==2.8.1", "setuptools; python_version >= '3.12'"],
    "cluster": ["dask[distributed]>=2024.1", "dask-jobqueue>=0.8"],
    "report": ["jinja2>=3.1"],
    "video": ["av>=14.0"],  # PyAV: wheels with FFmpeg's libraries, under licences of their own, so never in the base
    "dicom": ["pydicom>=3.0", "highdicom>=0.24"],  # series as cases, and DICOM SEG
    "tensorboard": ["tensorboard>=2.17"],  # samunet_train --logger tensorboard
    "wandb": ["wandb>=0.19"],  # samunet_train --logger wandb
    "monai": ["monai>=1.4", "einops>=0.8"],  # the variant swin_unetr; MONAI's transformer imports einops
    "annotate": ["starlette>=0.40", "uvicorn>=0.30"],  # the page's server: pure Python, no compiled parts
    "test": ["pytest>=8.0", "pytest-xdist>=3.8", "pytest-timeout>=2.3",  # a test that hangs must not hold up the others
             "pytest-cov>=5.0",  # `make coverage`
             "hypothesis>=6.100", "surface-distance>=0.1", "MedPy>=0.5.2", "ruff>=0.5", "mypy>=1.10",
             "monai>=1.4", "einops>=0.8",  # the variant swin_unetr
             "dcm2niix>=1.0.20230411",  # the second opinion on the geometry of DICOM series; a wheel holds the binary
             "playwright>=1.49"],  # drives the system's Chromium; its own browsers are not downloaded
    "docs": ["mkdocs-material>=9.5"],
}

setup(
    name="samunet",
    version=VERSION,
    description="Segment Anything, adapted to medical images with few labels, in nnU-Net's formats",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=find_packages(include=["samunet", "samunet.*"]),
    package_data={
        "samunet": ["py.typed", "**/*.json", "**/*.safetensors", "**/*.j2", "benchmarking/nnunet_trainers/*.py",
                    "annotation/page/*"],
    },
    python_requires=">=3.11,<3.14",
    install_requires=BASE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": [f"samunet_{name} = samunet.cli.entry:{name}" for name in COMMANDS]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
    ],
)
