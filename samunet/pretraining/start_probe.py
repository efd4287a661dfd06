"""The few-label probe of a start: a class head in closed form on labelled patients, and its error on others."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, linear, one_hot

from samunet.networks.closed_form import MARGIN, balanced, ridge_head
from samunet.networks.hybrid import Hybrid
from samunet.networks.start import SLOTS, fitted, start_of
from samunet.planning.volume_rules import VolumePlan
from samunet.pretraining.start_episodes import Episode

SMOOTH = 1e-5  # of the Dice loss, as nnU-Net's


class Features(nn.Module):
    """The finest decoder features of the network of one plan, from the weights of the canonical one."""

    def __init__(self, plan: VolumePlan) -> None:
        super().__init__()
        self.network = Hybrid(1 + SLOTS, 0, 1, plan, 0.0).eval()
        self._shapes = {name: parameter.shape for name, parameter in start_of(self.network).items()}

    def forward(self, inputs: Tensor) -> Tensor:
        """Volumes (P, 1 + SLOTS, *shape) -> features (P, C, *shape)."""
        return self.network.features(inputs, inputs[:, :0])

    def of(self, start: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """The features from the weights in `start`, differentiable in them."""
        weights = fitted(start, self._shapes, 1)
        features: Tensor = functional_call(self, {f"network.{name}": weights[name] for name in weights}, (inputs,))
        return features


def logits_of(features: Tensor, episode: Episode) -> Tensor:
    """Logits of the classes in the patients without labels, (Q, K, Z, Y, X), of the head fitted to the others.

    It is the head that `hybrid` begins with, `closed_form.fit_head`: -/+ MARGIN, classes weighing alike.

    Arguments:
        features: float (P, C, Z, Y, X).
    """
    rows = features.movedim(1, -1)
    known = one_hot(episode.classes[: episode.labelled].long()).flatten(0, 3)
    weight, bias = ridge_head(rows[: episode.labelled].flatten(0, 3), (known.to(rows.dtype) * 2 - 1) * MARGIN,
                              balanced(known > 0))
    return linear(rows[episode.labelled :], weight, bias).movedim(-1, 1)


def loss_of(logits: Tensor, wanted: Tensor, log_temperature: Tensor) -> Tensor:
    """Cross entropy and 1 minus the soft Dice of the classes but background, of all patients together.

    Arguments:
        logits: float (Q, K, Z, Y, X), multiplied by exp(`log_temperature`) before the softmax.
        wanted: uint8 (Q, Z, Y, X). Classes that no labelled patient shows cannot occur.
    """
    scaled = logits * log_temperature.exp()
    entropy = cross_entropy(scaled, wanted.long())
    shares = scaled.softmax(1).movedim(1, -1).flatten(0, 3)[:, 1:]
    truth = one_hot(wanted.long(), logits.shape[1]).flatten(0, 3)[:, 1:].to(shares.dtype)
    dice = (2 * (shares * truth).sum(0) + SMOOTH) / (shares.sum(0) + truth.sum(0) + SMOOTH)
    return entropy + 1 - dice.mean()


def dice_of(logits: Tensor, wanted: Tensor) -> float:
    """Mean Dice of the classes that `wanted` shows, but background, of all patients together; 1 if there is none."""
    found, dice = logits.argmax(1), []
    for value in range(1, logits.shape[1]):
        answered, shown = found == value, wanted == value
        if bool(shown.any()):
            dice.append(2 * float((answered & shown).sum()) / float(answered.sum() + shown.sum()))
    return sum(dice) / len(dice) if dice else 1.0
