"""The choice of `samunet_find_best_configuration`: candidates cross-validated on the labelled cases, halved round by round."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from samunet.benchmark.ladder import FEWEST_PATIENTS, FIXED, TRAIN_NOTHING, Length, shares
from samunet.benchmark.machines import in_own_process, train_requests
from samunet.benchmark.results import Cases, Result, read_cases
from samunet.benchmark.tables import markdown
from samunet.benchmark.verdict import (
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
    """What was asked for.

    Arguments:
        dataset: id or full name.
        fold: whose training cases are the labelled ones; `all` for every labelled case.
        variants: candidates; of equal ones the first wins.
        shots, draw: how many of the labelled cases, and which; None takes all.
        minutes: that all runs of all rounds train together; excludes `iterations`.
        iterations: of every run in the first round, doubled in each that follows.
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
        self.request(FIXED, Length(self.iterations, self.minutes))  # refuses numbers that make no sense

    def request(self, variant: str, length: Length, inner: int | None = None) -> Request:
        """`variant` trained on the labelled cases without those of inner fold `inner`, on which it is validated.

        Without `inner` it is trained on all of them. The fold's validation cases are left alone either way.
        """
        return Request(self.dataset, variant, self.fold, self.encoder, self.plans_name, length.iterations, length.minutes,
                       self.shots, self.draw, self.seed, device=self.device, inner=inner, validate=inner is not None)

    def length(self, number: int, share: float, folds: int) -> Length:
        """Of each run in round `number` (from 1), where a candidate gets `share` of the minutes for all its folds."""
        if self.iterations is not None:
            return Length(iterations=self.iterations * 2 ** (number - 1))
        assert self.minutes is not None
        return Length(minutes=self.minutes * share / folds)


@dataclass(frozen=True)
class _TrialRecord:
    """What a verdict reads of a run."""

    seconds: dict[str, float]


@dataclass(frozen=True)
class Choice:
    """What was chosen, and on what grounds: the labelled cases, their inner folds and every trial; no folds where none could be."""

    verdict: Verdict
    labelled: tuple[str, ...]
    folds: list[Split]
    trials: list[Trial]
    groups: Mapping[str, str] | None


def find_best(search: Search, paths: Paths, command: str) -> str:
    """Choose, train what was chosen on all the labelled cases, write the record; returns the choice in a line.

    The fold's validation cases are never opened. Finished runs of the same settings are kept, unfinished ones go on.

    Arguments:
        command: that repeats this, for the record.

    Raises:
        UserError: unknown dataset, fold or encoder, no plans, more shots than cases; another process makes the same choice; see
            `choose`.
    """
    record, grounds = _record(search, paths), _grounds(search, paths)  # both refuse bad input before anything is written
    with owned(lock_beside(record), record):
        choice = _chosen_on(grounds, search, paths)
        return _train_chosen(search, choice, record, paths, command)


def _train_chosen(search: Search, choice: Choice, record: Path, paths: Paths, command: str) -> str:
    """Train what was chosen and write the record."""
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
    """Cross-validate the candidates on the labelled cases, and say which is best; nothing is trained on all of them.

    Votes of registered pairs stay in a folder beside the record's place, for the training that follows.

    Raises:
        UserError: as `find_best`; results that cannot be written; no candidate could be scored; or fewer than three patients
            where the fixed variant is no candidate.
    """
    return _chosen_on(_grounds(search, paths), search, paths)


@dataclass(frozen=True)
class _Grounds:
    """The dataset, its labelled cases that the search may use, and their patients where they are known."""

    dataset: RawDataset
    labelled: tuple[str, ...]
    groups: Mapping[str, str] | None
    patients: int


def _grounds(search: Search, paths: Paths) -> _Grounds:
    dataset = load_dataset(find_dataset(paths.raw, search.dataset))
    preprocessed = paths.preprocessed / dataset.name
    Plans.load(preprocessed / f"{search.plans_name}.json").for_encoder(encoder_spec(search.encoder).id)
    labelled = cases_of(search.request(FIXED, Length()), dataset, preprocessed).train
    groups = known_groups(dataset, preprocessed)
    patients = len({name if groups is None else groups[name] for name in labelled})
    if patients < FEWEST_PATIENTS and FIXED not in search.variants:
        raise UserError(f"Below {FEWEST_PATIENTS} labelled patients nothing can be cross-validated, and {FIXED} is taken.",
                        where="--variants", found=f"{patients} labelled, and candidates without {FIXED}",
                        mend="Leave --variants out, give more --shots, or train the variant that you want with samunet_train.")
    return _Grounds(dataset, labelled, groups, patients)


def _chosen_on(grounds: _Grounds, search: Search, paths: Paths) -> Choice:
    labelled, groups, patients = grounds.labelled, grounds.groups, grounds.patients
    if patients < FEWEST_PATIENTS:
        return Choice(Verdict(FIXED, patients), labelled, [], [], groups)
    folds = make_splits(labelled, groups)
    require_writable(paths.results / grounds.dataset.name / CHOICES)
    trials = climb(search, replace(paths, votes=_votes(search, paths)), folds, grounds.dataset)
    verdict = _judged(search, trials, patients, groups)
    say(markdown(list(rows(trials, verdict, groups)), COLUMNS))
    return Choice(verdict, labelled, folds, trials, groups)


def climb(search: Search, paths: Paths, folds: Sequence[Split], dataset: RawDataset) -> list[Trial]:
    """Every trial of the search: first those that train nothing, then round by round the better half of the round before."""
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
    """Train and score one candidate on each inner fold, in one process of its own; the first fault ends it."""
    # Rounds have results folders of their own, so that a command that was stopped finds what its first rounds reached.
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
                        found=faults or "no held-out case in which Dice is defined", mend="Mend what is told, or name others.")
    return verdict


def _record(search: Search, paths: Paths) -> Path:
    dataset_results = paths.results / find_dataset(paths.raw, search.dataset).name
    return choice_path(dataset_results, search.plans_name, encoder_spec(search.encoder).id, search.fold, search.shots, search.draw)


def _votes(search: Search, paths: Paths) -> Path:
    """Where votes of registered pairs lie: inner folds, rounds and the last training meet the same pairs over and over."""
    return _record(search, paths).with_suffix(".votes")
