"""The choice of `samunet_find_best_configuration`: cross-validation on the labelled cases by successive halving."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from samunet.benchmarking.expected import Planned, announce_search
from samunet.benchmarking.ladder import FEWEST_PATIENTS, FIXED, TRAIN_NOTHING, Length, shares
from samunet.benchmarking.machines import in_own_process, train_requests
from samunet.benchmarking.results import Cases, Result, read_cases
from samunet.benchmarking.tables import markdown
from samunet.benchmarking.verdict import (
    COLUMNS,
    Trial,
    Verdict,
    better_half,
    decide,
    rows,
    trials_content,
    verdict_content,
)
from samunet.console import say
from samunet.dataset.dataset import RawDataset, load_dataset
from samunet.dataset.paths import Paths, find_dataset
from samunet.errors import UserError
from samunet.files import require_writable, write_json
from samunet.inference.choice_file import CHOICES, choice_path
from samunet.inference.model_folder import CHOSEN_BY
from samunet.inference.run_file import read_run
from samunet.locks import lock_beside, owned
from samunet.networks.checkpoints.encoders import encoder_spec
from samunet.planning.groups import known_groups
from samunet.planning.plans import Plans
from samunet.planning.splits import Split, make_splits
from samunet.training.cases import cases_of
from samunet.training.experiment import run_folder
from samunet.training.run import ensure_trained
from samunet.training.settings import Request
from samunet.variants.registry import check_prompts
from samunet.workers import default_workers


@dataclass(frozen=True)
class Search:
    """The settings of a search.

    Arguments:
        dataset: id or full name.
        fold: the fold whose training cases are the labelled ones; `all` for every labelled case.
        variants: candidates; ties are won by the first.
        shots, draw: how many of the labelled cases to use, and which draw; None uses all.
        minutes: total training time of all runs of all rounds; excludes `iterations`.
        iterations: of every run in the first round; each round doubles them.
    """

    dataset: str
    fold: str
    variants: tuple[str, ...]
    encoder: str
    plans_name: str
    device: str
    shots: int | None = None
    draw: int = 0
    seed: int = 0
    minutes: float | None = None
    iterations: int | None = None

    def __post_init__(self) -> None:
        for variant in self.variants:
            check_prompts(variant, given=False)
        self.request(FIXED, Length(self.iterations, self.minutes))  # refuses invalid numbers

    def request(self, variant: str, length: Length, inner: int | None = None) -> Request:
        """`variant` trained on the labelled cases except those of inner fold `inner`, on which it is validated.

        Without `inner` it is trained on all of them. The fold's validation cases are never used.
        """
        return Request(self.dataset, variant, self.fold, self.encoder, self.plans_name, length.iterations,
                       length.minutes,
                       self.shots, self.draw, self.seed, device=self.device, inner=inner, validate=inner is not None)

    def length(self, number: int, share: float, folds: int) -> Length:
        """Length of each run in round `number` (from 1); `share` of the minutes is for all folds of one candidate."""
        if self.iterations is not None:
            return Length(iterations=self.iterations * 2 ** (number - 1))
        return Length(minutes=None if self.minutes is None else self.minutes * share / folds)


@dataclass(frozen=True)
class _TrialRecord:
    """The part of run.json that a verdict needs."""

    seconds: dict[str, float]


@dataclass(frozen=True)
class Choice:
    """The chosen variant and its evidence: labelled cases, inner folds (empty if too few cases) and every trial."""

    verdict: Verdict
    labelled: tuple[str, ...]
    folds: list[Split]
    trials: list[Trial]
    groups: Mapping[str, str] | None


def find_best(search: Search, paths: Paths, command: str) -> str:
    """Choose a variant, train it on all the labelled cases and write the record; returns the choice in one line.

    Never opens the fold's validation cases. Reuses finished runs with the same settings and continues unfinished ones.

    Arguments:
        command: the command line that repeats the search, for the record.

    Raises:
        UserError: unknown dataset, fold or encoder, no plans, more shots than cases; another process makes the same
            choice; see `choose`.
    """
    record, evidence = _record(search, paths), _evidence(search, paths)  # both refuse bad input before writing anything
    with owned(lock_beside(record), record):
        choice = _chosen_on(evidence, search, paths)
        return _train_chosen(search, choice, record, paths, command)


def _train_chosen(search: Search, choice: Choice, record: Path, paths: Paths, command: str) -> str:
    """Train the chosen variant and write the record."""
    verdict, votes = choice.verdict, _votes(search, paths)
    say(f"training {verdict.variant} on {', '.join(choice.labelled)}")
    final = search.request(verdict.variant, Length())
    ensure_trained(final, replace(paths, votes=votes), trained_by=CHOSEN_BY, workers=1)
    model = run_folder(final, paths).parent
    write_json(record, {
        "told": str(verdict),
        "model": model.relative_to(paths.results).as_posix(),
        "fold": search.fold,
        **verdict_content(verdict),
        "labelled_cases": list(choice.labelled),
        "inner_folds": choice.folds,
        "trials": trials_content(choice.trials, verdict, choice.groups),
        "asked": asdict(search),
        "command": command,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    })
    shutil.rmtree(votes, ignore_errors=True)
    return f"{verdict}: {model} (record: {record})"


def choose(search: Search, paths: Paths) -> Choice:
    """Choose the best candidate by cross-validation on the labelled cases, without training it on all of them.

    The vote cache of registered pairs stays in the folder of the record, for the training that follows.

    Raises:
        UserError: as `find_best`; a results folder that is not writable; no candidate could be scored; or fewer than
        three
            patients where the fixed variant is not a candidate.
    """
    return _chosen_on(_evidence(search, paths), search, paths)


@dataclass(frozen=True)
class _Evidence:
    """The dataset, the labelled cases that the search may use, and their patients where known."""

    dataset: RawDataset
    labelled: tuple[str, ...]
    groups: Mapping[str, str] | None
    patients: int


def _evidence(search: Search, paths: Paths) -> _Evidence:
    dataset = load_dataset(find_dataset(paths.raw, search.dataset))
    preprocessed = paths.preprocessed / dataset.name
    Plans.load(preprocessed / f"{search.plans_name}.json").for_encoder(encoder_spec(search.encoder).id)
    labelled = cases_of(search.request(FIXED, Length()), dataset, preprocessed).train
    groups = known_groups(dataset, preprocessed)
    patients = len({name if groups is None else groups[name] for name in labelled})
    if patients < FEWEST_PATIENTS and FIXED not in search.variants:
        raise UserError(f"With fewer than {FEWEST_PATIENTS} labelled patients, {FIXED} is used without "
                        "cross-validation, so it must be a candidate.", where="--variants",
                        found=f"{patients} labelled, and candidates without {FIXED}",
                        mend="Leave out --variants, use more --shots, or train the variant you want with "
                             "samunet_train.")
    return _Evidence(dataset, labelled, groups, patients)


def _chosen_on(evidence: _Evidence, search: Search, paths: Paths) -> Choice:
    labelled, groups, patients = evidence.labelled, evidence.groups, evidence.patients
    if patients < FEWEST_PATIENTS:
        return Choice(Verdict(FIXED, patients), labelled, [], [], groups)
    folds = make_splits(labelled, groups)
    require_writable(paths.results / evidence.dataset.name / CHOICES)
    planned = Planned.of(paths.preprocessed / evidence.dataset.name, search.plans_name, search.encoder)
    announce_search(list(dict.fromkeys(search.variants)), search.minutes, search.device, len(labelled), planned,
                    planned.folder)
    trials = climb(search, replace(paths, votes=_votes(search, paths)), folds, evidence.dataset)
    verdict = _judged(search, trials, patients, groups)
    say(markdown(list(rows(trials, verdict, groups)), COLUMNS))
    return Choice(verdict, labelled, folds, trials, groups)


def climb(search: Search, paths: Paths, folds: Sequence[Split], dataset: RawDataset) -> list[Trial]:
    """Run every trial: the candidates without training first, then in each round the better half of the last one."""
    named = list(dict.fromkeys(search.variants))
    trials = [_trial(search, name, 0, Length(), paths, folds, dataset) for name in named if name in TRAIN_NOTHING]
    standing = [name for name in named if name not in TRAIN_NOTHING]
    for number, share in enumerate(shares(len(standing)), 1):
        if number > 1 and len(standing) < 2:
            break  # the others failed
        length = search.length(number, share, len(folds))
        say(f"round {number}: {', '.join(standing)}; {length} for each of {len(folds)} runs")
        tried = [_trial(search, name, number, length, paths, folds, dataset) for name in standing]
        trials += tried
        standing = better_half(tried)
    return trials


def _trial(
    search: Search, variant: str, number: int, length: Length, paths: Paths, folds: Sequence[Split], dataset: RawDataset
) -> Trial:
    """Train and score one candidate on each inner fold, in a process of its own; the first error ends it."""
    # Each round has its own results folder, so that a resumed command finds the results of earlier rounds.
    place = replace(paths, results=paths.results / dataset.name / CHOICES / f"round{number}")
    requests = [search.request(variant, length, inner) for inner in range(len(folds))]
    cases: Cases = {}
    runs: dict[tuple[int, str], dict[str, Any]] = {}
    fault = in_own_process(train_requests, requests, place, CHOSEN_BY, default_workers())
    if fault:
        say(f"{variant}: {fault}")
        return Trial(number, Result(variant, search.shots, {}, runs, (fault,), variant=variant), length)
    for request in requests:
        final = run_folder(request, place).final
        runs[0, str(request.inner)] = read_run(final / "run.json", _TrialRecord)
        cases |= read_cases(final / "validation", dataset.file_ending)
    return Trial(number, Result(variant, search.shots, {0: cases}, runs, variant=variant), length)


def _judged(search: Search, trials: Sequence[Trial], patients: int, groups: Mapping[str, str] | None) -> Verdict:
    verdict = decide(trials, patients, groups)
    if verdict is None:
        faults = "\n".join(f"{trial.variant}: {fault}" for trial in trials for fault in trial.result.missing)
        raise UserError("At least one candidate must be trained and scored.", where=", ".join(search.variants),
                        found=faults or "no held-out case in which Dice is defined",
                        mend="Fix the errors above, or give other --variants.")
    return verdict


def _record(search: Search, paths: Paths) -> Path:
    dataset_results = paths.results / find_dataset(paths.raw, search.dataset).name
    return choice_path(dataset_results, search.plans_name, encoder_spec(search.encoder).id, search.fold, search.shots,
                       search.draw)


def _votes(search: Search, paths: Paths) -> Path:
    """The vote cache's folder: inner folds, rounds and the final training register the same pairs."""
    return _record(search, paths).with_suffix(".votes")
