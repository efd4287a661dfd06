"""Before training: check raw datasets, extract the fingerprint, plan, split, preprocess, encode."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from samunet.api.defaults import Folder, announced, processes
from samunet.api.steps import Steps
from samunet.dataset.paths import resolve_paths
from samunet.planning.cache_rules import DEFAULT_CACHE_DTYPE
from samunet.planning.encoder_spec import DEFAULT_ENCODER
from samunet.planning.planner import DEFAULT_PLANS_NAME
from samunet.planning.plans import DEFAULT_MEMORY_TARGET_GB


def plan(
    dataset: int | str, *, encoder: str = DEFAULT_ENCODER, plans_name: str = DEFAULT_PLANS_NAME,
    memory_target_gb: float = DEFAULT_MEMORY_TARGET_GB, target_spacing_mm: Sequence[float] | None = None,
    cache_dtype: str = DEFAULT_CACHE_DTYPE, groups: str | None = None, verify: bool = False, clean: bool = False,
    workers: int | None = None, raw: Folder = None, preprocessed: Folder = None,
) -> Path:
    """Plan a raw dataset: write its fingerprint, its plans and splits_final.json. As `samunet_plan_experiment`.

    Files that exist and match the data are reused.

    Arguments:
        dataset: its number, or its full name DatasetXXX_Name.
        encoder: mini, untrained, pixels, vit_b, vit_l, vit_h, or a checkpoint file with SAM's key names.
        plans_name: name of the plans file, without .json.
        memory_target_gb: memory that training may use, in GB (10^9 bytes); the installed memory is not queried.
        target_spacing_mm: (z, y, x) in mm, in the files' axis order; None: planned.
        cache_dtype: number type of cached embeddings, float16 or int8.
        groups: a CSV file with the columns case,patient, or a regular expression for case names whose first group is
            the patient; None: groups.csv beside dataset.json, if it exists.
        verify: check every file of every case first.
        clean: recompute the fingerprint even if the data have not changed.
        workers: number of processes; None: one for each processor, at most 8.
        raw, preprocessed: folders of the datasets; None: the environment variables that the commands read.

    Returns:
        The plans file, <preprocessed>/<Dataset>/<plans_name>.json.

    Raises:
        UserError: an unknown dataset or encoder, broken files, an unknown channel name, values out of bounds, a folder
            that cannot be written.

    Example:
        >>> import samunet
        >>> samunet.plan(900).name
        'samunetPlans.json'
    """
    spec = announced(encoder)
    steps = Steps.of(str(dataset), resolve_paths(raw, preprocessed), plans_name, processes(workers), verify=verify)
    fingerprint = steps.fingerprint(clean)
    steps.plan(fingerprint, spec, memory_target_gb, target_spacing_mm, cache_dtype)
    steps.splits(groups)
    return steps.plans_file


def preprocess(
    dataset: int | str, *, encoder: str = DEFAULT_ENCODER, embeddings: bool = True,
    plans_name: str = DEFAULT_PLANS_NAME, workers: int | None = None, raw: Folder = None, preprocessed: Folder = None,
) -> Path:
    """Write the preprocessed arrays of a planned dataset and the encoder's embeddings. As `samunet_preprocess`.

    Files that match the raw files and the plans are reused.

    Arguments:
        dataset, encoder, plans_name, workers, raw, preprocessed: see `samunet.plan`.
        embeddings: False writes the arrays alone; training then computes the embeddings that it needs.

    Returns:
        The folder <preprocessed>/<Dataset>/<plans_name>: `arrays/<case>.b2nd` float32 (C, Z, Y, X) with the plans' axes
        and spacing, `arrays/<case>_seg.b2nd` int16 (1, Z, Y, X), and `embeddings/`.

    Raises:
        UserError: an unknown dataset or encoder, a dataset that is not planned, or not for this encoder.
        BadCases: some cases cannot be preprocessed; all others are finished.

    Example:
        >>> import samunet
        >>> folder = samunet.preprocess(900, embeddings=False)
        >>> sorted(path.name for path in folder.glob("arrays/*_seg.b2nd"))[:2]
        ['phantom_000_seg.b2nd', 'phantom_001_seg.b2nd']
    """
    spec = announced(encoder) if embeddings else None
    steps = Steps.of(str(dataset), resolve_paths(raw, preprocessed), plans_name, processes(workers))
    plans = steps.load_plans()
    if spec is not None:
        plans.for_encoder(spec.id)
    steps.preprocess(plans, encoder, spec)
    return steps.plans_folder


def extract_fingerprint(
    dataset: int | str, *, verify: bool = False, clean: bool = False, workers: int | None = None, raw: Folder = None,
    preprocessed: Folder = None,
) -> Path:
    """Write the fingerprint of a raw dataset alone, dataset_fingerprint.json. As `samunet_extract_fingerprint`.

    Arguments: see `samunet.plan`.

    Raises:
        UserError: an unknown dataset, broken files, a folder that cannot be written.
    """
    steps = Steps.of(str(dataset), resolve_paths(raw, preprocessed), DEFAULT_PLANS_NAME, processes(workers),
                     verify=verify)
    steps.fingerprint(clean)
    return steps.folder / "dataset_fingerprint.json"


def require_datasets(
    datasets: Iterable[int | str], *, plans_name: str = DEFAULT_PLANS_NAME, verify: bool = False,
    workers: int | None = None, raw: Folder = None, preprocessed: Folder = None,
) -> None:
    """Check several raw datasets before the work on the first of them begins.

    Arguments: see `samunet.plan`.

    Raises:
        UserError: an unknown dataset, a broken dataset.json or case files, an output folder that is not writable.
    """
    paths = resolve_paths(raw, preprocessed)
    for dataset in datasets:
        Steps.of(str(dataset), paths, plans_name, processes(workers), verify=verify)
