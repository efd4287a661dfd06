from __future__ import annotations

import torch

from samunet.networks.autosam_full import EncoderAndHead
from samunet.networks.autosam_head import AutoSamHead
from samunet.networks.checkpoints.encoders import load_encoder


def test_the_encoder_is_a_copy_that_learns_and_the_frozen_one_stays() -> None:
    torch.manual_seed(0)
    frozen = load_encoder("untrained", 64)
    network = EncoderAndHead(frozen.module, AutoSamHead(512, 3, 64, frozen.sam_state))
    before = {name: tensor.clone() for name, tensor in frozen.module.state_dict().items()}
    images = torch.randn(2, 2, 3, 64, 64)
    logits = network(images)
    assert logits.shape == (2, 3, 16, 16)
    # The same as the head on the frozen encoder's embeddings of each image alone, side by side.
    embeddings = torch.stack([torch.cat([frozen.module(image[None])[0] for image in each]) for each in images])
    torch.testing.assert_close(logits, network.head(embeddings), rtol=1e-4, atol=1e-4)
    logits.sum().backward()
    torch.optim.SGD(network.parameters(), 0.1).step()
    changed = network.encoder.state_dict()
    assert not torch.equal(changed["blocks.0.attn.qkv.weight"], before["blocks.0.attn.qkv.weight"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in frozen.module.state_dict().items())
