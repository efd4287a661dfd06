"""The pretraining loop: made batches, the objectives' sum, AdamW, EMA, a state that can be resumed."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from samunet.console import progress, say
from samunet.errors import UserError
from samunet.files import make_folder, write_text, writing
from samunet.networks.checkpoints.tensor_files import read_tensors, write_tensors
from samunet.networks.checkpoints.untrained import untrained_state
from samunet.networks.sam import ENCODER_SIZES, Sam, build_sam, set_input_size
from samunet.pretraining.batches import Batch, BatchShape, make_batch
from samunet.pretraining.log_lines import read_lines
from samunet.pretraining.losses import loss_of, loss_of_answers, questions_of
from samunet.pretraining.objectives import Encoded, Objectives
from samunet.pretraining.question_buffer import BATCHES, QuestionBuffer
from samunet.pretraining.recipe import DECODER_UPDATES, PATIENTS, SLICES, Phase, Recipe
from samunet.pretraining.validation import validate
from samunet.schema import decode

STATE = "state.safetensors"
SCALARS = "pretraining"  # key of its metadata
LOG = "log.jsonl"
STEPS_BETWEEN_LINES = 20
STEPS_BETWEEN_STATES = 100
STEPS_BETWEEN_VALIDATIONS = 500
GRADIENT_NORM = 1.0
BETAS = (0.9, 0.98)
LOWEST_FREQUENCY = 0.1
SMALLEST_NORM = 1e-6  # of a loss's gradient at the embeddings; what is smaller is rounding and is not scaled up to a full share


@dataclass(frozen=True)
class _Scalars:
    """What is beside the tensors of a state."""

    step: Annotated[int, Meta(ge=0)]
    seconds: float
    recipe: dict[str, Any]


class Pretrainer:
    """A mini SAM in training: the image encoder from `untrained` weights on, the rest from PyTorch's initial ones.

    PyTorch's are smaller than `untrained` has them, and a decoder that starts with large answers first learns to say nothing.

    Arguments:
        recipe: what to train. A run that goes on may have other steps to come than it began with, the schedule follows; those that
            are done, and all else, must be equal.
        folder: where state, log and weights go.
        device: of the networks and of the synthesis.
    """

    def __init__(self, recipe: Recipe, folder: Path, device: torch.device) -> None:
        self.recipe, self.folder, self.device = recipe, make_folder(folder), device
        torch.manual_seed(recipe.seed)
        self.sam = build_sam("mini", ENCODER_SIZES["mini"].native_input_size)
        self.sam.image_encoder.load_state_dict(_part(untrained_state(), "image_encoder."))
        _spread_frequencies(self.sam)
        self.extra = Objectives()
        self.sam.to(device)
        self.extra.to(device)
        if not (folder / STATE).is_file():
            self._standardise()
        named = [*self.sam.named_parameters(), *self.extra.named_parameters()]
        # Fused: on a CPU the plain one takes several times as long.
        self.optimizer = torch.optim.AdamW(_groups(named, recipe.weight_decay), lr=recipe.learning_rate, betas=BETAS, fused=True)
        self.average = {name: tensor.detach().clone() for name, tensor in self.sam.state_dict().items()}
        self.questions = QuestionBuffer()
        self.step, self.seconds = 0, 0.0
        if (folder / STATE).is_file():
            self._restore()

    def _standardise(self) -> None:
        """Start with embeddings of mean 0 and deviation 1 in each channel.

        Most of an untrained embedding is the same for all cells; the decoder's attention would see little else.
        """
        batch = make_batch(batch_shape(self.recipe.phases[0]), self.recipe.seed, 0, self.device)
        last: Any = self.sam.image_encoder.neck[-1]
        with torch.no_grad():
            embeddings = self.sam.image_encoder(batch.pictures.flatten(0, 2))
            mean, deviation = embeddings.mean((0, 2, 3)), embeddings.std((0, 2, 3)).clamp_min(1e-3)
            last.weight.div_(deviation)
            last.bias.sub_(mean).div_(deviation)

    def run(self) -> None:
        """Train to the recipe's last step; a run that was stopped goes on from its last state."""
        if self.step:
            say(f"going on at step {self.step} of {self.recipe.steps}")
        sums: dict[str, float] = {}
        summed, started = 0, time.perf_counter()
        batches = self._batches(first := self._first_asked())
        for step in range(first, self.step):  # a run that goes on asks again about the batches that the buffer held
            set_input_size(self.sam, self.recipe.phase_at(step).size)
            self._ask(next(batches), self._generator(step))
        for _ in progress(range(self.step, self.recipe.steps), "pretraining", self.recipe.steps - self.step):
            for name, value in self._train_step(next(batches)).items():
                sums[name] = sums.get(name, 0.0) + value
            self.step, summed, last = self.step + 1, summed + 1, self.step + 1 == self.recipe.steps
            self.seconds, started = self.seconds + time.perf_counter() - started, time.perf_counter()
            if self.step % STEPS_BETWEEN_LINES == 0 or last:
                self._log({name: round(value / summed, 4) for name, value in sums.items()})
                sums, summed = {}, 0
            if self.step % STEPS_BETWEEN_VALIDATIONS == 0 or last:
                self._log({"validation": self.validate()})
            # After all that is told of this step: a run that is killed before goes back and tells it again.
            if self.step % STEPS_BETWEEN_STATES == 0 or last:
                self._save()

    def validate(self) -> dict[str, float]:
        """Figures of the averaged weights on made families and on phantoms, at the current phase's size."""
        current = {name: tensor.clone() for name, tensor in self.sam.state_dict().items()}
        self.sam.load_state_dict(self.average)
        size = self.recipe.phase_at(max(self.step - 1, 0)).size
        figures = validate(self.sam, size, self.device)
        self.sam.load_state_dict(current)
        return figures

    def _first_asked(self) -> int:
        """The first step about whose batch the current step's decoder is asked."""
        if self.step in (0, self.recipe.steps) or self.recipe.phase_at(self.step).part != "decoder":
            return self.step
        return self.step - min(self.recipe.course_at(self.step)[1], BATCHES - 1)

    def _batches(self, first: int) -> Iterator[Batch]:
        """Batches from step `first` on; on a CPU made one process ahead."""
        ahead = self.device.type == "cpu"
        steps = _MadeBatches(self.recipe, first, torch.device("cpu") if ahead else self.device)
        return iter(DataLoader(steps, batch_size=None, num_workers=int(ahead), prefetch_factor=4 if ahead else None))

    def _train_step(self, batch: Batch) -> dict[str, float]:
        set_input_size(self.sam, batch.pictures.shape[-1])
        generator = self._generator(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate_at(self.step)
        if self.recipe.phase_at(self.step).part == "decoder":
            return self._teach_decoder(batch, generator)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            encoded = Encoded.of(batch, self.sam.image_encoder)
        values = self._backward(encoded, generator)
        self._update()
        return values

    def _generator(self, step: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(self.recipe.seed * 1_000_003 + step + 2**40)

    def _update(self) -> None:
        for module in (self.sam.image_encoder, self.sam.prompt_encoder, self.sam.mask_decoder, self.extra):
            nn.utils.clip_grad_norm_(module.parameters(), GRADIENT_NORM)
        self.optimizer.step()
        decay = min(self.recipe.ema_decay, (1 + self.step) / (10 + self.step))
        for name, tensor in self.sam.state_dict().items():
            self.average[name].lerp_(tensor, 1 - decay)

    def _teach_decoder(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """Encode the batch once, and ask the decoder about this one and those before it."""
        if self.recipe.course_at(self.step)[1] == 0:
            # The encoder that stands still from here is the one that is exported.
            self.sam.load_state_dict(self.average)
        self._ask(batch, generator)
        lesson = self.recipe.first_lesson_at(self.step)
        sums = dict.fromkeys(self.questions.kept, 0.0)
        for _ in range(DECODER_UPDATES):
            self.optimizer.zero_grad(set_to_none=True)
            for name in sums:
                loss = loss_of_answers(self.questions.draw(name, generator), self.sam, name, generator, lesson)
                sums[name] += float(self._finite(name, loss).detach()) / DECODER_UPDATES
                loss.backward()
            self._update()
        return sums

    @torch.no_grad()
    def _ask(self, batch: Batch, generator: torch.Generator) -> None:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            encoded = Encoded.of(batch, self.sam.image_encoder)
        for name in self.recipe.losses_at(self.step):
            self.questions.add(name, questions_of(encoded, self.sam, name, generator))

    def _finite(self, name: str, loss: Tensor) -> Tensor:
        if not math.isfinite(float(loss.detach())):
            raise FloatingPointError(f"loss {name} at step {self.step} is {float(loss.detach())}")
        return loss

    def _backward(self, encoded: Encoded, generator: torch.Generator) -> dict[str, float]:
        """Gradients of all losses; each loss has its share of the encoder's, whatever its scale.

        Every loss meets the encoder only through the embeddings. Its gradient there is scaled to its share before the sum goes
        through the encoder: as they are, a decoder that knows nothing yet outweighs the dense losses a hundredfold, and
        shrinks the embeddings to a constant.
        """
        self.optimizer.zero_grad(set_to_none=True)
        meeting = replace(encoded, embeddings=encoded.embeddings.detach().requires_grad_())
        combined = torch.zeros_like(encoded.embeddings)
        values = {}
        for name in self.recipe.losses_at(self.step):
            loss = loss_of(meeting, self.sam, self.extra, name, generator, self.recipe.first_lesson_at(self.step))
            values[name] = float(self._finite(name, loss).detach())
            meeting.embeddings.grad = None
            loss.backward()
            gradient = meeting.embeddings.grad
            if gradient is None or not bool(gradient.isfinite().all()):
                raise FloatingPointError(f"gradient of loss {name} at step {self.step} is not finite")
            combined += self.recipe.share_at(name, self.step) * gradient / gradient.norm().clamp_min(SMALLEST_NORM)
        if encoded.embeddings.requires_grad:
            encoded.embeddings.backward(combined)
        return values

    def _log(self, content: dict[str, Any]) -> None:
        line = {"step": self.step, "size": self.recipe.phase_at(self.step - 1).size, "seconds": round(self.seconds, 1),
                "threads": torch.get_num_threads(), "learning_rate": self.recipe.rate_at(self.step - 1), **content}
        with writing(self.folder / LOG), open(self.folder / LOG, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"sam/{name}": tensor for name, tensor in self.sam.state_dict().items()}
        tensors |= {f"extra/{name}": tensor for name, tensor in self.extra.state_dict().items()}
        tensors |= {f"average/{name}": tensor for name, tensor in self.average.items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in values.items()}
        return tensors

    def _save(self) -> None:
        """One file, so that no two parts of it can disagree."""
        scalars = {"step": self.step, "seconds": self.seconds, "recipe": _kept(self.recipe, self.step)}
        write_tensors(self.folder / STATE, self._tensors(), {SCALARS: json.dumps(scalars)})

    def _restore(self) -> None:
        mend = "Remove it to start again, or choose another output folder."
        tensors, metadata = read_tensors(self.folder / STATE, mend)
        scalars = read_scalars(metadata, self.folder / STATE, mend)
        if scalars["step"] > self.recipe.steps:
            raise UserError("A run that goes on must have at least the steps that it has done.", where=self.folder / STATE,
                            found=f"{scalars['step']} done, {self.recipe.steps} asked for",
                            mend="Ask for more steps, or choose another folder.")
        wanted = _kept(self.recipe, scalars["step"])
        if "phases" not in scalars["recipe"]:  # states of before do not tell
            del wanted["phases"]
        if scalars["recipe"] != wanted:
            different = [f"{key} {scalars['recipe'].get(key)} there, {value} asked for" for key, value in wanted.items()
                         if scalars["recipe"].get(key) != value]
            raise UserError("A run that goes on must have the recipe it began with.", where=self.folder / STATE,
                            found="; ".join(different), mend="Choose another output folder, or the same recipe.")
        self.sam.load_state_dict(_part(tensors, "sam/"))
        self.extra.load_state_dict(_part(tensors, "extra/"))
        self.average = {name: tensor.to(self.device) for name, tensor in _part(tensors, "average/").items()}
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _part(tensors, "optimizer/").items():
            index, _, key = name.partition("/")
            moments.setdefault(int(index), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.step, self.seconds = scalars["step"], scalars["seconds"]
        lines = [line for line in read_lines(self.folder / LOG) if line["step"] <= self.step]
        write_text(self.folder / LOG, "".join(f"{json.dumps(line)}\n" for line in lines))


def read_scalars(metadata: Mapping[str, str], path: Path, mend: str) -> dict[str, Any]:
    """The scalars of the state in file `path`.

    Raises:
        UserError: the file is not the state of a pretraining run.
    """
    rule = "The state of a pretraining run must be its own."
    try:
        scalars = json.loads(metadata.get(SCALARS, "null"))
    except (ValueError, RecursionError) as fault:
        raise UserError(rule, where=path, found=str(fault)[:300], mend=mend) from fault
    decode(_Scalars, scalars, rule=rule, where=path, mend=mend)
    return scalars


class _MadeBatches(Dataset[Batch]):
    """Batch number i of the steps that are left."""

    def __init__(self, recipe: Recipe, first: int, device: torch.device) -> None:
        self.recipe, self.first, self.device = recipe, first, device

    def __len__(self) -> int:
        return self.recipe.steps - self.first

    def __getitem__(self, index: int) -> Batch:
        step = self.first + index
        return make_batch(batch_shape(self.recipe.phase_at(step)), self.recipe.seed, step, self.device)


def batch_shape(phase: Phase) -> BatchShape:
    """The pictures of one step of a phase."""
    return BatchShape(phase.families, PATIENTS, SLICES, phase.size)


def _spread_frequencies(sam: Sam) -> None:
    """Scale the random frequencies of positions, which SAM draws with deviation 1, to deviations from LOWEST_FREQUENCY to 1.

    At 1, places 8 % of the picture apart are as good as unrelated. Between which corners a place lies is told by slow waves.
    """
    frequencies = sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
    frequencies.mul_(torch.logspace(math.log10(LOWEST_FREQUENCY), 0, frequencies.shape[1]))


def _groups(named: list[tuple[str, nn.Parameter]], weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases, norms, tokens, positions and what embeds patches or points do not."""
    decaying = [tensor for name, tensor in named if _decays(name, tensor)]
    others = [tensor for name, tensor in named if not _decays(name, tensor)]
    return [{"params": decaying, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _decays(name: str, tensor: Tensor) -> bool:
    return tensor.ndim > 1 and not any(part in name for part in ("pos_embed", "rel_pos", "token", "_embed", "embeddings"))


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _kept(recipe: Recipe, steps: int) -> dict[str, Any]:
    """What must be equal when a run goes on after `steps`: of the phases, what is done, as `--phases` writes it."""
    each = map(recipe.phase_at, range(steps))
    done = [f"{size}:{sum(1 for _ in same)}:{families}:{part}"
            for (size, families, part), same in groupby(each, key=lambda phase: (phase.size, phase.families, phase.part))]
    return recipe.to_json() | {"phases": " ".join(done)}
