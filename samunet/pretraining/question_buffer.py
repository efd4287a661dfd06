"""Questions about the last batches, from which a decoder that is trained alone draws."""

from __future__ import annotations

from collections import deque

import torch

from samunet.pretraining.questions import Questions

BATCHES = 40  # kept; the questions of one batch are too alike to learn from
DRAWN = 16  # of each kind, for one update


class QuestionBuffer:
    """The questions of the last BATCHES batches, one kind for each loss."""

    def __init__(self) -> None:
        self.kept: dict[str, deque[Questions]] = {}

    def add(self, name: str, questions: Questions) -> None:
        """Keep the questions of one batch; those of pictures of another size are forgotten."""
        kept = self.kept.setdefault(name, deque(maxlen=BATCHES))
        if kept and kept[-1].target.shape[1:] != questions.target.shape[1:]:
            kept.clear()
        kept.append(questions)

    def draw(self, name: str, generator: torch.Generator) -> Questions:
        """DRAWN of the questions that are kept, each batch as likely as the other."""
        kept = self.kept[name]
        batches = torch.randint(len(kept), (DRAWN,), generator=generator, device=generator.device).tolist()
        share = torch.rand(DRAWN, generator=generator, device=generator.device).tolist()
        places = [int(part * len(kept[batch])) for batch, part in zip(batches, share, strict=True)]
        return Questions.joined([kept[batch][place : place + 1] for batch, place in zip(batches, places, strict=True)])
