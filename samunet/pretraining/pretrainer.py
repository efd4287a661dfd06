"""The pretraining loop: synthetic batches, the sum of the objectives, AdamW, an averaged copy, and saved states."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from samunet.console import progress, say
from samunet.files import make_folder, write_text, writing
from samunet.networks.checkpoints.untrained import untrained_state
from samunet.networks.sam import ENCODER_SIZES, Sam, build_sam, set_input_size
from samunet.pretraining.batches import Batch, BatchShape, make_batch
from samunet.pretraining.log_lines import read_lines
from samunet.pretraining.losses import loss_of, loss_of_answers, queries_of
from samunet.pretraining.objectives import Encoded, Objectives
from samunet.pretraining.query_buffer import BATCHES, QueryBuffer
from samunet.pretraining.recipe import DECODER_UPDATES, PATIENTS, SLICES, Phase, Recipe
from samunet.pretraining.state import STATE, load_state, part_of, save_state
from samunet.pretraining.validation import validate

LOG = "log.jsonl"
STEPS_BETWEEN_LINES = 20
STEPS_BETWEEN_STATES = 100
STEPS_BETWEEN_VALIDATIONS = 500
GRADIENT_NORM = 1.0
BETAS = (0.9, 0.98)
LOWEST_FREQUENCY = 0.1
SMALLEST_NORM = 1e-6  # of a loss's gradient at the embeddings; smaller ones are rounding errors and are not scaled up


class Pretrainer:
    """A mini SAM in training: the image encoder starts from `untrained` weights, the rest from PyTorch's initial ones.

    PyTorch's are smaller than those of `untrained`: a decoder that starts with large logits first learns to predict
    nothing.

    Arguments:
        recipe: what to train. A continued run may have other remaining steps, which its schedule follows; the finished
            steps
            and everything else must be equal.
        folder: receives state, log and weights.
        device: of the networks and of the synthesis.
    """

    def __init__(self, recipe: Recipe, folder: Path, device: torch.device) -> None:
        self.recipe, self.folder, self.device = recipe, make_folder(folder), device
        torch.manual_seed(recipe.seed)
        self.sam = build_sam("mini", ENCODER_SIZES["mini"].native_input_size)
        self.sam.image_encoder.load_state_dict(part_of(untrained_state(), "image_encoder."))
        _spread_frequencies(self.sam)
        self.extra = Objectives()
        self.sam.to(device)
        self.extra.to(device)
        if not (folder / STATE).is_file():
            self._standardise()
        named = [*self.sam.named_parameters(), *self.extra.named_parameters()]
        # On a CPU, the fused optimiser is several times faster.
        self.optimizer = torch.optim.AdamW(_groups(named, recipe.weight_decay), lr=recipe.learning_rate, betas=BETAS,
                                           fused=True)
        self.average = {name: tensor.detach().clone() for name, tensor in self.sam.state_dict().items()}
        self.queries = QueryBuffer()
        self.step, self.seconds = 0, 0.0
        if (folder / STATE).is_file():
            self._restore()

    def _standardise(self) -> None:
        """Scale the untrained embeddings to mean 0 and standard deviation 1 in each channel.

        Most of an untrained embedding is the same for all cells, which would dominate the decoder's attention.
        """
        batch = make_batch(batch_shape(self.recipe.phases[0]), self.recipe.seed, 0, self.device)
        last: Any = self.sam.image_encoder.neck[-1]
        with torch.no_grad():
            embeddings = self.sam.image_encoder(batch.images.flatten(0, 2))
            mean, std = embeddings.mean((0, 2, 3)), embeddings.std((0, 2, 3)).clamp_min(1e-3)
            last.weight.div_(std)
            last.bias.sub_(mean).div_(std)

    def run(self) -> None:
        """Train to the recipe's last step, continuing from the last saved state."""
        if self.step:
            say(f"continuing at step {self.step} of {self.recipe.steps}")
        sums: dict[str, float] = {}
        summed, started = 0, time.perf_counter()
        batches = self._batches(first := self._first_query_step())
        for step in range(first, self.step):  # refill the query buffer of a continued run
            set_input_size(self.sam, self.recipe.phase_at(step).size)
            self._add_queries(next(batches), self._generator(step))
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
            # Last: a run that is killed before repeats the step and its log lines.
            if self.step % STEPS_BETWEEN_STATES == 0 or last:
                self._save()

    def validate(self) -> dict[str, float]:
        """Metrics of the averaged weights on synthetic families and phantoms, at the current phase's image size."""
        current = {name: tensor.clone() for name, tensor in self.sam.state_dict().items()}
        self.sam.load_state_dict(self.average)
        size = self.recipe.phase_at(max(self.step - 1, 0)).size
        figures = validate(self.sam, size, self.device)
        self.sam.load_state_dict(current)
        return figures

    def _first_query_step(self) -> int:
        """The first step whose batch is in the query buffer of the current step."""
        if self.step in (0, self.recipe.steps) or self.recipe.phase_at(self.step).part != "decoder":
            return self.step
        return self.step - min(self.recipe.course_at(self.step)[1], BATCHES - 1)

    def _batches(self, first: int) -> Iterator[Batch]:
        """Batches from step `first` on; on a CPU, another process prepares them."""
        ahead = self.device.type == "cpu"
        steps = _SyntheticBatches(self.recipe, first, torch.device("cpu") if ahead else self.device)
        return iter(DataLoader(steps, batch_size=None, num_workers=int(ahead), prefetch_factor=4 if ahead else None))

    def _train_step(self, batch: Batch) -> dict[str, float]:
        set_input_size(self.sam, batch.images.shape[-1])
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
        """Encode the batch once, and train the decoder on queries of this batch and of earlier ones."""
        if self.recipe.course_at(self.step)[1] == 0:
            # The encoder is frozen from here on: it must be the averaged one, which is exported.
            self.sam.load_state_dict(self.average)
        self._add_queries(batch, generator)
        lesson = self.recipe.first_lesson_at(self.step)
        sums = dict.fromkeys(self.queries.stored, 0.0)
        for _ in range(DECODER_UPDATES):
            self.optimizer.zero_grad(set_to_none=True)
            for name in sums:
                loss = loss_of_answers(self.queries.sample(name, generator), self.sam, name, generator, lesson)
                sums[name] += float(self._finite(name, loss).detach()) / DECODER_UPDATES
                loss.backward()
            self._update()
        return sums

    @torch.no_grad()
    def _add_queries(self, batch: Batch, generator: torch.Generator) -> None:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            encoded = Encoded.of(batch, self.sam.image_encoder)
        for name in self.recipe.losses_at(self.step):
            self.queries.add(name, queries_of(encoded, self.sam, name, generator))

    def _finite(self, name: str, loss: Tensor) -> Tensor:
        if not math.isfinite(float(loss.detach())):
            raise FloatingPointError(f"loss {name} at step {self.step} is {float(loss.detach())}")
        return loss

    def _backward(self, encoded: Encoded, generator: torch.Generator) -> dict[str, float]:
        """Gradients of all losses; each contributes its share to the encoder's gradient, whatever its scale.

        Each loss depends on the encoder only through the embeddings. Its gradient there is scaled to its share before
        the sum is backpropagated through the encoder. Unscaled, the gradient through an untrained decoder would be a
        hundred times larger than those of the dense losses, and would collapse the embeddings to a constant.
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
        save_state(self.folder / STATE, self._tensors(), self.step, self.seconds, self.recipe)

    def _restore(self) -> None:
        state = load_state(self.folder / STATE, self.recipe)
        self.sam.load_state_dict(part_of(state.tensors, "sam/"))
        self.extra.load_state_dict(part_of(state.tensors, "extra/"))
        self.average = {name: tensor.to(self.device) for name, tensor in part_of(state.tensors, "average/").items()}
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state.moments(), "param_groups": groups})
        self.step, self.seconds = state.step, state.seconds
        lines = [line for line in read_lines(self.folder / LOG) if line["step"] <= self.step]
        write_text(self.folder / LOG, "".join(f"{json.dumps(line)}\n" for line in lines))


class _SyntheticBatches(Dataset[Batch]):
    """Item i is the batch of the i-th remaining step."""

    def __init__(self, recipe: Recipe, first: int, device: torch.device) -> None:
        self.recipe, self.first, self.device = recipe, first, device

    def __len__(self) -> int:
        return self.recipe.steps - self.first

    def __getitem__(self, index: int) -> Batch:
        step = self.first + index
        return make_batch(batch_shape(self.recipe.phase_at(step)), self.recipe.seed, step, self.device)


def batch_shape(phase: Phase) -> BatchShape:
    """The images of one step of a phase."""
    return BatchShape(phase.families, PATIENTS, SLICES, phase.size)


def _spread_frequencies(sam: Sam) -> None:
    """Scale the random frequencies of SAM's positional encoding to standard deviations from LOWEST_FREQUENCY to 1.

    SAM's are all 1, which makes positions that are 8 % of the image apart practically unrelated. A position relative to
    the corners of a box needs low frequencies.
    """
    frequencies = sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
    frequencies.mul_(torch.logspace(math.log10(LOWEST_FREQUENCY), 0, frequencies.shape[1]))


def _groups(named: list[tuple[str, nn.Parameter]], weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices, but not for biases, norms, tokens, positions and embeddings of patches or points."""
    decaying = [tensor for name, tensor in named if _decays(name, tensor)]
    others = [tensor for name, tensor in named if not _decays(name, tensor)]
    return [{"params": decaying, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _decays(name: str, tensor: Tensor) -> bool:
    return tensor.ndim > 1 and not any(part in name
                                       for part in ("pos_embed", "rel_pos", "token", "_embed", "embeddings"))
