"""From a request to everything that a run needs: plans, cases, encoder, settings, folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from samunet.dataset.dataset import RawDataset, load_dataset
from samunet.dataset.paths import Paths, find_dataset
from samunet.errors import UserError, some
from samunet.files import digest_of_file, digest_of_json, read_json, write_json
from samunet.inference.model_files import digest_of_labels
from samunet.inference.model_folder import chosen_device
from samunet.inputs.embedding_cache import embeddings_of
from samunet.inputs.protocols import CaseInputs
from samunet.networks.checkpoints.encoders import Encoder, encoder_spec, load_encoder
from samunet.planning.plans import EncoderPlan, Plans, digest_of_plan
from samunet.planning.shots import draw_folder
from samunet.preprocessing.arrays import AnnotatedArrays, Arrays, labels_of
from samunet.preprocessing.preprocess import digest_of_decisions
from samunet.preprocessing.prompts.file import PromptsFile, read_prompts
from samunet.preprocessing.store import ArrayStore
from samunet.preprocessing.views import ViewedArrays
from samunet.training.cases import RunCases, cases_of
from samunet.training.checkpoints import start_from
from samunet.training.run_folder import RunFolder, stored_run
from samunet.training.settings import Request, Settings, settings_text
from samunet.training.support_file import read_support
from samunet.variants.base import Variant, VariantContext
from samunet.variants.registry import built_settings, changed_beside, check_kinds, entry, variant_class
from samunet.variants.run_data import RunData


@dataclass(frozen=True)
class Experiment:
    """A request, resolved against what planning and preprocessing have written.

    `encoder` is None for variants that need none. Cases and `slices` are those of `cases.RunCases`; where slices were
    chosen, `arrays` has no labels of the others of the training cases. `prompts` and `support` are those of the
    request's files.
    """

    request: Request
    dataset: RawDataset
    plans: Plans
    section: EncoderPlan
    encoder: Encoder | None
    context: VariantContext
    arrays: Arrays
    train_cases: tuple[str, ...]
    unlabelled_cases: tuple[str, ...]
    val_cases: tuple[str, ...]
    slices: Mapping[str, tuple[int, ...]] | None
    settings: Settings
    folder: RunFolder
    preprocessed: Path
    prompts: PromptsFile | None
    support: Mapping[str, tuple[int, ...]] | None

    def build_variant(self) -> Variant:
        """The variant before training: weights initialised under the seed, or pretrained ones."""
        torch.manual_seed(self.settings.seed)
        variant = variant_class(self.settings.variant)(self.context)
        if self.request.pretrained_weights:
            start_from(self.request.pretrained_weights, variant)
        return variant

    def segmentation(self, name: str) -> np.ndarray:
        """A labelled case's label values as the run may use them, int16 (Z, Y, X), on the plan's grid."""
        return labels_of(self.arrays, name)

    @property
    def store(self) -> ArrayStore:
        """The preprocessed arrays with all of their labels."""
        return ArrayStore(self.preprocessed / self.plans.plans_name / "arrays")

    def data(self, record: dict[str, Any]) -> RunData:
        """What a variant may read of the run; what it decides goes into `record`, the content of run.json."""
        return RunData(self.context, self.plans, self.arrays, self.train_cases, self.unlabelled_cases, self.support,
                       record.get("settings", {}).get("batch_size", self.settings.batch_size), self.settings.seed,
                       torch.device(self.settings.device),
                       self.folder.work,
                       self._embeddings_folder, record)

    def embeddings(self, names: Sequence[str]) -> dict[str, CaseInputs]:
        """The embeddings of cases by name, cached; what is missing or out of date is encoded first.

        What the disk has no room for is encoded whenever it is read, to the same numbers.
        """
        assert self.encoder is not None
        return embeddings_of(names, self.arrays, self.plans, self.encoder, self._embeddings_folder)

    @property
    def _embeddings_folder(self) -> Path:
        return self.preprocessed / self.plans.plans_name / "embeddings" / self.section.encoder

    def write_model_files(self) -> None:
        """Put plans (with this encoder's section alone), dataset.json and fingerprint beside the folds.

        They are written in the run's own folder first, since other folds may end at the same moment.
        """
        replace(self.plans, encoders={self.section.encoder: self.section}).save(self.folder.work / "plans.json")
        write_json(self.folder.work / "dataset.json", self.dataset.content)
        write_json(self.folder.work / "dataset_fingerprint.json",
                   read_json(self.preprocessed / "dataset_fingerprint.json"))
        for name in ("plans.json", "dataset.json", "dataset_fingerprint.json"):
            (self.folder.work / name).replace(self.folder.parent / name)

    def check_model_files(self) -> None:
        """Refuse to put a fold beside folds that were trained under other plans, or under labels of another meaning.

        Raises:
            UserError: there are such folds.
        """
        path = self.folder.parent / "plans.json"
        others = [fold.name for fold in self.folder.parent.glob("fold_*")
                  if fold.suffix == "" and fold != self.folder.final]
        if not others or not path.is_file():
            return
        told = {fold: (stored_run(self.folder.parent / fold) or {}).get("settings", {}).get("labels")
                for fold in others}
        if strange := sorted(fold for fold, labels in told.items() if labels not in (None, self.settings.labels)):
            raise UserError("All folds of one model must be trained under the same labels.",
                            where=path.with_name("dataset.json"),
                            found=f"{', '.join(strange)} trained under others than the dataset has now",
                            mend="Remove that model's folder, or restore `labels` and `regions_class_order` of the "
                                 "dataset.")
        changed = {fold: run["settings"].get("changed_settings") for fold in others
                   if (run := stored_run(self.folder.parent / fold))}
        if strange := sorted(fold for fold, settings in changed.items() if settings != self.settings.changed_settings):
            raise UserError("All folds of one model must be trained with the same settings.", where=self.folder.parent,
                            found=f"{', '.join(strange)} trained with {settings_text(changed[strange[0]])}, "
                                  f"and now {settings_text(self.settings.changed_settings)}",
                            mend="Give the same --set, another folder with --results, or remove that model's folder.")
        there = Plans.load(path)
        if digest_of_plan(there, there.for_encoder(self.section.encoder),
                          entry(self.settings.variant).needs) != self.settings.plan:
            raise UserError("All folds of one model must be trained under the same plans.", where=path,
                            found=f"{', '.join(sorted(others))} trained under other plans than "
                                  f"{self.plans.plans_name}.json",
                            mend="Remove that model's folder, or plan under another name with -plans_name.")


def open_experiment(request: Request, paths: Paths) -> Experiment:
    """Read what planning and preprocessing wrote and settle the run's cases and settings.

    Raises:
        UserError: unknown dataset, variant, fold or encoder; no plans or arrays, or arrays of another plan; more shots
            than cases, or slices than show foreground; bad prompts or support.
    """
    raw = find_dataset(paths.raw, request.dataset)
    dataset = load_dataset(raw)
    preprocessed = paths.preprocessed / raw.name
    plans = Plans.load(preprocessed / f"{request.plans_name}.json")
    spec = encoder_spec(request.encoder)
    if entry(request.variant).needs == "image_stacks":
        plans = plans.of_adapters(spec.id)
    if entry(request.variant).reads_patches_3d:
        plans = plans.of_patches_3d(spec.id, spec.size, dataset.labels.channels)
    section = plans.for_encoder(spec.id)
    cases = cases_of(request, dataset, preprocessed)
    store = ArrayStore(preprocessed / request.plans_name / "arrays")
    _require_made_by(plans, store, [*cases.train, *cases.val, *(name for name in cases.unlabelled if name in store)])
    arrays = ViewedArrays(AnnotatedArrays(store, cases.slices or {}), plans.dataset)
    prompts = read_prompts(request.prompts, dataset.labels) if request.prompts else None
    if prompts:
        check_kinds(request.variant, prompts.kinds, str(request.prompts))
        prompts.require(cases.val)
    support = read_support(request.support, arrays, cases.train, dataset.labels) if request.support else None
    device = chosen_device(request.device)
    encoder, of_variant = None, built_settings(request.variant, request.settings).resolved(section)
    if entry(request.variant).needs_encoder and of_variant.needs_encoder:
        encoder = load_encoder(request.encoder, section.input_size, device,
                               fast=entry(request.variant).reads_embeddings)
    context = VariantContext(dataset.labels, plans.dataset, section, encoder.sam_state if encoder else {}, encoder,
                             paths.votes, plans.unet, of_variant)
    settings = _settings(request, raw.name, plans, context, arrays, cases, prompts)
    return Experiment(request, dataset, plans, section, encoder, context, arrays, cases.train, cases.unlabelled,
                      cases.val,
                      cases.slices, settings, run_folder(request, paths), preprocessed, prompts, support)


def _require_made_by(plans: Plans, arrays: ArrayStore, names: Sequence[str]) -> None:
    """Refuse arrays of other plans: prediction follows the plan, where the model would see images of another kind."""
    if missing := [name for name in dict.fromkeys(names) if name not in arrays]:
        raise UserError("Every case of a run must be preprocessed.", where=arrays.folder,
                        found=f"no arrays of {some(missing)}",
                        mend="Run samunet_plan_and_preprocess (or samunet_preprocess): it says what is wrong.")
    wanted = digest_of_decisions(plans.dataset)
    if others := [name for name in dict.fromkeys(names) if arrays.properties(name).signature.get("plan") != wanted]:
        raise UserError("A run's arrays must be made by its plan.", where=arrays.folder,
                        found=f"by another one: {some(others)}",
                        mend="Run samunet_preprocess again.")


def run_folder(request: Request, paths: Paths) -> RunFolder:
    """Where the run lies.

    Raises:
        UserError: unknown dataset or encoder.
    """
    name = f"{request.variant}__{request.plans_name}__{encoder_spec(request.encoder).id}"
    parent = paths.results / find_dataset(paths.raw, request.dataset).name / name
    parent /= draw_folder(request.shots, request.draw, request.shot_slices)
    if request.inner is not None:
        parent /= f"inner{request.inner}"
    return RunFolder(parent, request.fold)


def _settings(
    request: Request, dataset: str, plans: Plans, context: VariantContext, arrays: Arrays, cases: RunCases,
    prompts: PromptsFile | None,
) -> Settings:
    section, encoder, labels, chosen = context.encoder_plan, context.encoder, context.labels, context.settings
    assert chosen is not None
    values = asdict(chosen)
    kind = variant_class(request.variant)
    iterations: int | None = kind.iterations(context)  # 0: nothing is trained, whatever the flags say
    if iterations:
        iterations = request.iterations or (iterations if request.minutes is None else None)
    properties = {name: arrays.properties(name) for name in {*cases.train, *cases.val}}
    digests = {name: [each.image_digest, each.segmentation_digest] for name, each in properties.items()}
    images = [[name, arrays.properties(name).image_digest] for name in cases.unlabelled] if kind.unlabelled else None
    weights = request.pretrained_weights
    if weights and not weights.is_file():
        raise UserError("Pretrained weights must be a file.", where=weights, found="no such file")
    return Settings(
        dataset=dataset,
        variant=request.variant,
        fold=request.fold,
        plans=plans.plans_name,
        encoder=section.encoder,
        iterations=iterations,
        minutes=request.minutes if iterations != 0 else None,
        batch_size=kind.batch_size(context),
        learning_rate=values.get("learning_rate", 0.0),
        weight_decay=values.get("weight_decay", 0.0),
        seed=request.seed,
        shots=request.shots,
        draw=request.draw,
        pretrained_weights=digest_of_file(weights) if weights else None,
        device=request.device,
        encoder_digest=encoder.digest if encoder else None,
        plan=digest_of_plan(plans, section, entry(request.variant).needs),
        data=digest_of_json({"training": [[name, digests[name]] for name in cases.train],
                             "validation": [[name, digests[name]] for name in cases.val]}),
        prompts=prompts.digest if prompts else None,
        oracle_prompts=request.oracle_prompts,
        inner=request.inner,
        shot_slices=request.shot_slices,
        box_relax=request.box_relax or None,
        support=digest_of_file(request.support) if request.support else None,
        labels=digest_of_labels(labels),
        unlabelled=digest_of_json(images) if images else None,
        variant_settings=values,
        changed_settings=changed_beside(request.variant, chosen) or None,
    )
