"""`sam_zeroshot`: SAM's own prompt encoder and mask decoder as they come with the encoder, prompted slice by slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from samunet.errors import UserError
from samunet.inputs.protocols import CaseInputs, Place
from samunet.networks.box_answer import answer_in_box
from samunet.networks.checkpoints.encoders import Encoder
from samunet.networks.mask_decoding import decode_masks
from samunet.networks.prompts import Prompts, box_prompts, point_prompts, with_points
from samunet.networks.sam import build_mask_decoder, build_prompt_encoder, load_part
from samunet.planning.encoder_spec import EMBEDDING_CHANNELS
from samunet.planning.tiles import TileFrame
from samunet.preprocessing.prompts.case_prompts import CasePrompts
from samunet.variants.answers import REFUSED
from samunet.variants.base import VariantContext
from samunet.variants.kinds import tile_logits
from samunet.variants.prompted import PromptedVariant

AT_ONCE = 16  # questions that are decoded together


@dataclass(frozen=True)
class Question:
    """The prompt of one mask.

    Arguments:
        pick: index of the pick. channel: of the label space.
        points: float64 (T, 2), (x, y) in pixels of the encoder's input.
        positive: bool (T,), whether each is in the object, or must not be.
        box: two corners float64 (2, 2) as points are; None for a question of points alone.
    """

    pick: int
    channel: int
    points: np.ndarray
    positive: np.ndarray
    box: np.ndarray | None = None

    @property
    def refuses(self) -> bool:
        """Whether it says only where the object is not."""
        return self.box is None and not self.positive.any()


class SamZeroshotVariant(PromptedVariant):
    """SAM without any training (Kirillov et al., arXiv 2304.02643), which both few-shot papers compare with.

    Every class is prompted alone, with SAM's single mask (segment-anything's `multimask_output=False`). All points of
    a slice and class make one question, every box one of its own, with the negative points of its slice and class; a
    class's masks are joined by their maximum. Where a class has negative points only it is absent: SAM was not trained
    to answer them. Then
    classes compete: the background has probability 0.5 (logit 0), so a voxel is the class of the highest probability
    above that, or background; regions do not compete. Channels that are encoded alone are decoded alone and their
    logits averaged.

    A box is two corners, as Meta's decoders know it. Decoders of the size `mini`, which samunet trains itself, are
    prompted as they were trained: with the ellipse in the box as a mask prompt beside it; and their masks are corrected
    by `networks.box_answer`. The size decides and not the family, which says only how images are normalised and can be
    overridden.

    Deviations from AutoSAM's baseline (scripts/inference.py): images have the contrast that the encoder expects,
    overlaps are resolved by probability and not by the class's number, and boxes are not widened by a pixel.
    """

    prompts = ("points", "negative points", "boxes")

    def __init__(self, context: VariantContext) -> None:
        super().__init__(context)
        assert context.encoder is not None
        self.encoder = context.encoder
        size = context.encoder_plan.input_size
        self.prompt_encoder, self.decoder = build_prompt_encoder(size), build_mask_decoder()
        _load(self.prompt_encoder, "prompt_encoder.", self.encoder)
        _load(self.decoder, "mask_decoder.", self.encoder)

    def answers(self, prompts: CasePrompts, embeddings: CaseInputs, picks: Sequence[Place]) -> tuple[Tensor, Tensor]:
        """See `PromptedVariant`."""
        tile, device = self.context.encoder_plan.tile_shape, self.encoder.device
        logits = torch.full((len(picks), self.labels.channels, *tile), -torch.inf, device=device)
        prompted = torch.zeros(logits.shape[:2], dtype=torch.bool, device=device)
        if not self.labels.has_regions:
            logits[:, 0], prompted[:, 0] = 0.0, True
        questions = [question for index, pick in enumerate(picks)
                     for question in self._questions(prompts, embeddings.frame, index, pick)]
        for question in questions:
            if question.refuses:
                logits[question.pick, question.channel], prompted[question.pick, question.channel] = REFUSED, True
        questions = [question for question in questions if not question.refuses]
        shown = sorted({question.pick for question in questions})
        if not shown:
            return logits, prompted
        read = embeddings.read([picks[index] for index in shown]).to(device)
        embedded = dict(zip(shown, read, strict=True))
        for group in _alike(questions):
            masks = self._masks(torch.stack([embedded[question.pick] for question in group]), group)
            for question, mask in zip(group, masks, strict=True):
                place = question.pick, question.channel
                logits[place] = torch.maximum(logits[place], mask)
                prompted[place] = True
        return logits, prompted

    def _questions(self, prompts: CasePrompts, frame: TileFrame, index: int, pick: Place) -> list[Question]:
        """The prompts on pick number `index`: one tile of one slice."""
        plan, (slice_, tile) = self.context.encoder_plan, pick
        (top, left), (above, before) = frame.starts[tile], frame.before
        pixels = plan.input_size / max(plan.tile_shape)  # of the encoder's input, for each voxel
        first = self.labels.channels - len(self.labels.foreground)  # of regions the background has no channel
        found = []
        for channel, label in enumerate(self.labels.foreground, first):
            if label in prompts:
                points, boxes, positive = prompts[label].on_tile(slice_, (top - above, left - before), plan.tile_shape)
                points = points[:, ::-1] * pixels - 0.5  # SAM counts from the middles of pixels, and adds the half
                if positive.any() or (len(points) and not len(boxes)):
                    found.append(Question(index, channel, points, positive))
                found += [Question(index, channel, points[~positive], positive[~positive], box[:, ::-1] * pixels)
                          for box in boxes]
        return found

    def _masks(self, embedded: Tensor, questions: Sequence[Question]) -> Tensor:
        """Logits (N, rows, columns) of N questions alike, on N embeddings (N, D, g, g)."""
        alone = embedded.shape[1] // EMBEDDING_CHANNELS
        sparse, dense = self._prompts(questions).encode(self.prompt_encoder)
        masks, _ = decode_masks(self.decoder, embedded.reshape(-1, EMBEDDING_CHANNELS, *embedded.shape[2:]),
                                self.prompt_encoder.get_dense_pe(), sparse.repeat_interleave(alone, 0),
                                dense.repeat_interleave(alone, 0))
        plan = self.context.encoder_plan
        single = masks[:, 0].reshape(len(questions), alone, *masks.shape[2:]).mean(1, keepdim=True)
        found = tile_logits(single, plan)[:, 0]
        if questions[0].box is not None and self._is_mini:
            found = answer_in_box(found, self._boxes(questions), plan.input_size / max(plan.tile_shape))
        return found

    def _prompts(self, questions: Sequence[Question]) -> Prompts:
        points = self._stacked([question.points for question in questions]).float()
        positive = self._stacked([question.positive for question in questions])
        if questions[0].box is None:
            return point_prompts(points, self.prompt_encoder, positive)
        boxes = box_prompts(self._boxes(questions), self.prompt_encoder)
        boxes = boxes if self._is_mini else boxes.unmasked(boxes.masked)
        return with_points(boxes, points, self.prompt_encoder, positive) if points.shape[1] else boxes

    def _boxes(self, questions: Sequence[Question]) -> Tensor:
        """Float32 (N, 4)."""
        corners = [question.box for question in questions if question.box is not None]
        return self._stacked(corners).float().flatten(1)

    def _stacked(self, arrays: Sequence[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(arrays)).to(self.encoder.device)

    @property
    def _is_mini(self) -> bool:
        return self.encoder.spec.size == "mini"


def _alike(questions: Sequence[Question]) -> list[list[Question]]:
    """Groups of at most AT_ONCE questions of one kind and token count: padding would change SAM's answers."""
    kinds: dict[tuple[bool, int], list[Question]] = {}
    for question in questions:
        kinds.setdefault((question.box is not None, len(question.points)), []).append(question)
    return [same[start : start + AT_ONCE] for same in kinds.values() for start in range(0, len(same), AT_ONCE)]


def _load(part: nn.Module, prefix: str, encoder: Encoder) -> None:
    """Give `part` the weights that the encoder's checkpoint has for it, frozen, where the encoder is.

    Raises:
        UserError: it has none, or others.
    """
    try:
        load_part(part, prefix, encoder.sam_state)
    except RuntimeError as fault:
        count = sum(name.startswith(prefix) for name in encoder.sam_state)
        found = f"{count} weights of {prefix.removesuffix('.')}: {str(fault).splitlines()[-1].strip()[:200]}"
        raise UserError("sam_zeroshot needs a checkpoint with SAM's own prompt encoder and mask decoder.",
                        where=encoder.spec.id,
                        found=found, mend="Choose an encoder whose file holds a whole SAM.") from fault
    part.to(encoder.device)
