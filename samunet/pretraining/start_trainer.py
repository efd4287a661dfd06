"""The loop that meta-learns a start: an episode a step, AdamW at a constant rate, averaged weights, saved states."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from msgspec import Meta
from torch import Tensor

from samunet.console import progress, say
from samunet.errors import UserError
from samunet.files import digest_of_file, make_folder, write_json, write_text, writing
from samunet.networks.checkpoints.tensor_files import read_tensors, write_tensors
from samunet.networks.start import canonical_network, require_start, start_of
from samunet.pretraining.log_lines import read_lines
from samunet.pretraining.start_episodes import KINDS, random_episode
from samunet.pretraining.start_probe import Features, logits_of, loss_of
from samunet.pretraining.start_validation import validate
from samunet.pretraining.start_volumes import Kind
from samunet.pretraining.state import part_of
from samunet.schema import decode

STATE, LOG = "state.safetensors", "log.jsonl"
WEIGHTS, CARD = "hybrid-start.safetensors", "hybrid-start.json"
SCALARS = "start"  # key of the metadata of states and weights
RATE, WARM_UP, WEIGHT_DECAY, GRADIENT_NORM = 1e-3, 100, 1e-2, 1.0
DECAY = 0.998  # of the averaged weights
STEPS_BETWEEN_LINES, STEPS_BETWEEN_STATES, STEPS_BETWEEN_VALIDATIONS = 20, 100, 250
TEMPERATURE = "log_temperature"
MEND = "Remove it to start again, or choose another output folder."


@dataclass(frozen=True)
class Scalars:
    """What a state or a file of weights says of its run: finished steps, processor seconds, seed."""

    step: Annotated[int, Meta(ge=0)] = 0
    seconds: float = 0.0
    seed: Annotated[int, Meta(ge=0)] = 0


@dataclass
class StartTrainer:
    """A start in training.

    The rate is constant after a warm-up and the averaged weights are what is exported, so a run has no last step: it
    can be continued for as long as there is time.

    Arguments:
        folder: receives state, log, averaged weights and their card; the state in it is continued.
        seed: of the first weights and of all episodes.
        weights: an exported file to begin with where the folder has no state. Steps are counted on from it, so that
            other episodes follow; AdamW's moments begin at zero, so the result is not that of an unbroken run.
        kinds: of volumes, which take turns.
    """

    folder: Path
    seed: int
    weights: Path | None = None
    kinds: tuple[Kind, ...] = KINDS
    scalars: Scalars = field(init=False)

    def __post_init__(self) -> None:
        make_folder(self.folder)
        torch.manual_seed(self.seed)
        self.start = {name: tensor.detach().clone() for name, tensor in start_of(canonical_network()).items()}
        self.scalars = Scalars(seed=self.seed)
        if not (self.folder / STATE).is_file() and self.weights is not None:
            self.start, self.scalars = read_weights(self.weights)
            self.scalars = Scalars(self.scalars.step, self.scalars.seconds, self.seed)
        self.start[TEMPERATURE] = torch.zeros(())
        self.average = {name: tensor.clone() for name, tensor in self.start.items()}
        for tensor in self.start.values():
            tensor.requires_grad_()
        self.optimizer = torch.optim.AdamW(self.start.values(), lr=RATE, weight_decay=WEIGHT_DECAY, fused=True)
        self.features = {kind: Features(kind.plan) for kind in self.kinds}
        if (self.folder / STATE).is_file():
            self._restore()

    def run(self, steps: int, *, judge: Callable[..., dict[str, float]] = validate) -> None:
        """Train until `steps` are finished, continuing from the last saved state.

        Arguments:
            judge: of the averaged weights, given `self.features` and the weights.
        """
        first, losses, clock = self.scalars.step, [], time.process_time()
        say(f"step {first} of {steps}")
        if not first:
            self._log(validation=judge(self.features, self.average))
        for step in progress(range(first, steps), "meta-learning", max(steps - first, 0)):
            losses.append(self._train_step(step))
            now, last = time.process_time(), step + 1 == steps
            self.scalars = Scalars(step + 1, self.scalars.seconds + now - clock, self.seed)
            clock = now
            if (step + 1) % STEPS_BETWEEN_LINES == 0 or last:
                self._log(loss=round(sum(losses) / len(losses), 4),
                          temperature=round(float(self.average[TEMPERATURE].exp()), 3))
                losses = []
            if (step + 1) % STEPS_BETWEEN_VALIDATIONS == 0 or last:
                self._log(validation=judge(self.features, self.average))
                self._export()
            # Last: a run that is killed before repeats the steps and their log lines.
            if (step + 1) % STEPS_BETWEEN_STATES == 0 or last:
                self._save()

    def _train_step(self, step: int) -> float:
        episode = random_episode(self.seed, step, self.kinds)
        features = self.features[episode.kind].of(self.start, episode.inputs)
        loss = loss_of(logits_of(features, episode), episode.classes[episode.labelled :], self.start[TEMPERATURE])
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss at step {step} is {value}")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.start.values(), GRADIENT_NORM)
        for group in self.optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARM_UP)
        self.optimizer.step()
        decay = min(DECAY, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, tensor in self.average.items():
                tensor.lerp_(self.start[name], 1 - decay)
        return value

    def _log(self, **content: Any) -> None:
        line = {"step": self.scalars.step, "seconds": round(self.scalars.seconds, 1), **content}
        with writing(self.folder / LOG), open(self.folder / LOG, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def _metadata(self) -> dict[str, str]:
        return {SCALARS: json.dumps(vars(self.scalars))}

    def _export(self) -> None:
        weights = {name: tensor.half() for name, tensor in self.average.items() if name != TEMPERATURE}
        write_tensors(self.folder / WEIGHTS, weights, self._metadata())
        judged = [line for line in read_lines(self.folder / LOG) if "validation" in line]
        write_json(self.folder / CARD, {
            "trained_on": f"{self.scalars.step} episodes of synthetic anatomies; no collected image",
            "command": f"python studies/pretrain_start.py -o FOLDER --steps {self.scalars.step} --seed {self.seed}",
            **vars(self.scalars), "torch": torch.__version__, "validation": [judged[0], judged[-1]],
            "sha256": digest_of_file(self.folder / WEIGHTS), "licence": "Apache-2.0",
        })

    def _save(self) -> None:
        tensors = {f"start/{name}": tensor for name, tensor in self.start.items()}
        tensors |= {f"average/{name}": tensor for name, tensor in self.average.items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{name}": tensor for name, tensor in values.items()}
        write_tensors(self.folder / STATE, tensors, self._metadata())

    def _restore(self) -> None:
        path = self.folder / STATE
        tensors, metadata = read_tensors(path, MEND)
        self.scalars = _scalars(metadata, path)
        if self.scalars.seed != self.seed:
            raise UserError("A continued run must have the seed that it began with.", where=path,
                            found=f"saved {self.scalars.seed}, requested {self.seed}", mend=MEND)
        with torch.no_grad():
            for name, tensor in part_of(tensors, "start/").items():
                self.start[name].copy_(tensor)
        self.average = part_of(tensors, "average/")
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in part_of(tensors, "optimizer/").items():
            index, _, key = name.partition("/")
            moments.setdefault(int(index), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        lines = [line for line in read_lines(self.folder / LOG) if line["step"] <= self.scalars.step]
        write_text(self.folder / LOG, "".join(f"{json.dumps(line)}\n" for line in lines))


def read_weights(path: Path) -> tuple[dict[str, Tensor], Scalars]:
    """The tensors of an exported file, float32, and what it says of its run.

    Raises:
        UserError: the file is damaged or holds no start.
    """
    tensors, metadata = read_tensors(path, MEND)
    require_start(tensors, path)
    return {name: tensor.float() for name, tensor in tensors.items()}, _scalars(metadata, path)


def _scalars(metadata: dict[str, str], path: Path) -> Scalars:
    rule = "The state of a meta-learning run must be valid."
    try:
        content = json.loads(metadata.get(SCALARS, "null"))
    except (ValueError, RecursionError) as fault:
        raise UserError(rule, where=path, found=str(fault)[:300], mend=MEND) from fault
    return decode(Scalars, content, rule=rule, where=path, mend=MEND)
