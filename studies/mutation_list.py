"""The faults that `mutations.py` puts into the code, over all folders of samunet, each a mistake that could be made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """`new` instead of `old`, which `file` holds just once; `tests` (files or test names) should fail then.

    `survived_first`: those tests did not notice when it was first tried; one that does was written then. Others may
    have.
    """

    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    note: str
    survived_first: bool = False


MUTATIONS = (
    # Named in the issue that asked for this table.
    Mutation("samunet/registration/registration.py", "-1, 0)[::-1].copy()", "-1, 0).copy()",
             ("tests/registration/test_registration.py",), "axes of `displacements` reversed", True),
    Mutation("samunet/registration/registration.py", "[affine, sitk.DisplacementFieldTransform(field_mm)]",
             "[sitk.DisplacementFieldTransform(field_mm), affine]",
             ("tests/registration/test_registration.py",), "affine part before the demons' displacement", True),
    Mutation("samunet/inputs/encoder_input.py", "self._mean * mask", "self._mean",
             ("tests/inputs/test_encoder_input.py",), "the encoder's input is not 0 outside the image", True),
    Mutation("samunet/planning/tiles.py", "(self.padded_shape[0] - self.shape[0]) // 2",
             "(self.padded_shape[0] - self.shape[0] + 1) // 2",
             ("tests/planning/test_tiles.py",), "an odd padding's larger half before the rows of the image", True),
    Mutation("samunet/planning/tiles.py", "(self.padded_shape[1] - self.shape[1]) // 2",
             "(self.padded_shape[1] - self.shape[1] + 1) // 2",
             ("tests/planning/test_tiles.py",), "an odd padding's larger half before the columns of the image", True),
    Mutation("samunet/training/trainer.py", "        torch.nn.utils.clip_grad_norm_(self.parameters, GRADIENT_NORM)\n",
             "",
             ("tests/training/test_trainer.py",), "no gradient clipping", True),
    Mutation("samunet/inputs/image_stacks.py", "math.cos(turn)]]) / scale", "math.cos(turn)]]) * scale",
             ("tests/inputs/test_image_stacks.py",), "scale inverted", True),
    Mutation("samunet/inputs/patches.py", "np.clip(wanted[axis] - patch[axis] // 2, 0, spare)",
             "np.clip(wanted[axis] - patch[axis] // 2 + 1, 0, spare)",
             ("tests/inputs/test_patches.py",), "patches lie one voxel beside the wanted one", True),
    # Registration.
    Mutation("samunet/registration/registration.py", "    return float(min(image.GetSpacing()))", "    return 1.0",
             ("tests/registration/test_registration.py",), "steps of 1 mm, not of a voxel", True),
    Mutation("samunet/registration/registration.py", "np.array(transform.GetTranslation()) * unit_mm",
             "np.array(transform.GetTranslation())",
             ("tests/registration/test_registration.py",), "the affine shift stays in voxels"),
    Mutation("samunet/registration/itk_threads.py",
             "            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)\n", "",
             ("tests/registration/test_registration.py",), "ITK uses all processors", True),
    # dataset
    Mutation("samunet/dataset/crop.py", "_filled((image != 0).any(axis=0))", "(image != 0).any(axis=0)",
             ("tests/dataset/test_crop.py",), "holes of the non-zero mask count as outside"),
    Mutation("samunet/dataset/labels.py", "others[:, None, None] & (segmentation >= 0)", "others[:, None, None]",
             ("tests/dataset/test_labels.py",), "outside the image counts as unannotated"),
    Mutation("samunet/dataset/labels.py", "enumerate(self.regions_class_order):",
             "[*enumerate(self.regions_class_order)][::-1]:",
             ("tests/dataset/test_labels.py",), "regions painted in reverse order"),
    Mutation("samunet/dataset/grids.py", "(shape[old] - 1)", "shape[old]",
             ("tests/dataset/test_grids.py",), "a flipped grid starts one voxel further"),
    Mutation("samunet/dataset/io/nifti_grid.py", "return sform if \"pixdim\" in conflicts else others[\"pixdim\"]",
             "return others[\"pixdim\"]",
             ("tests/dataset/io/test_nifti_grid.py",), "pixdim is used where the sform contradicts it"),
    Mutation("samunet/dataset/io/nifti_grid.py", "origin = TO_LPS * matrix[:, 3] * unit_mm",
             "origin = TO_LPS * matrix[:, 3]",
             ("tests/dataset/io/test_nifti_grid.py",), "the origin of a file in micrometres is not converted"),
    Mutation("samunet/dataset/io/oriented_io.py", "2 - source, bool(sign < 0)", "2 - source, bool(sign > 0)",
             ("tests/dataset/io/test_oriented_io.py",), "arrays turned away from RAS"),
    Mutation("samunet/dataset/grids.py", "tuple(self.flipped[axis] for axis in axes)", "self.flipped",
             ("tests/dataset/test_grids.py", "tests/dataset/io/test_oriented_io.py"),
             "a turn is undone along the wrong axes"),
    # planning
    Mutation("samunet/planning/spacing.py", "coarsest_other = max(target", "coarsest_other = min(target",
             ("tests/planning/test_spacing.py",), "anisotropy measured against the finest axis"),
    Mutation("samunet/planning/shots.py", "for turn in rounds for patient in order if",
             "for patient in order for turn in rounds if",
             ("tests/planning/test_shots.py",), "all cases of a patient before the next patient"),
    Mutation("samunet/planning/splits.py", "    np.random.RandomState(SPLIT_SEED).shuffle(order)\n", "",
             ("tests/planning/test_splits.py",), "folds of neighbouring names"),
    Mutation("samunet/planning/unet_rules.py", "kernel = [3 if voxels[axis] / min(voxels) < 2",
             "kernel = [3 if voxels[axis] / min(voxels) <= 2",
             ("tests/planning/test_unet_rules.py",), "kernels of 3 along an axis twice as coarse", True),
    # networks
    Mutation("samunet/networks/attention.py", "unfold(0, length, 1).flip(2)", "unfold(0, length, 1)",
             ("tests/networks/test_image_encoder.py",), "relative positions mirrored"),
    Mutation("samunet/networks/attention.py", "+ columns[..., : shape[1]].logsumexp(-1)", "+ columns.logsumexp(-1)",
             ("tests/networks/test_image_encoder.py",), "blank keys in the corner of a window counted twice"),
    Mutation("samunet/networks/lora.py", "[query + self.query(tokens), key, value",
             "[query, key + self.query(tokens), value",
             ("tests/networks/test_lora.py",), "low-rank updates of the keys, not the queries"),
    Mutation("samunet/networks/prompts.py", "points.float() + 0.5", "points.float()",
             ("tests/networks/test_prompts.py",), "prompts half a pixel off"),
    Mutation("samunet/networks/prompts.py", "pad(places, (0, 0, 0, 1))", "pad(places, (0, 0, 1, 0))",
             ("tests/networks/test_prompts.py",), "points moved on by one token"),
    Mutation("samunet/networks/mask_decoding.py", "embeddings + dense", "embeddings",
             ("tests/networks/test_mask_decoding.py",), "the mask prompt is not used"),
    Mutation("samunet/networks/ridge.py", "each - middle, torch", "each - each.mean(1, keepdim=True), torch",
             ("tests/networks/test_ridge.py",), "new cells centred about their own mean"),
    # preprocessing
    Mutation("samunet/preprocessing/normalize.py", "chosen.mean(), chosen.std()", "chosen.mean(), voxels.std()",
             ("tests/preprocessing/test_normalize.py",), "standard deviation outside the mask as well"),
    Mutation("samunet/preprocessing/resample.py", "np.floor(centres + 0.5)", "np.round(centres)",
             ("tests/preprocessing/test_resample.py",), "a voxel half-way takes the even neighbour"),
    Mutation("samunet/preprocessing/views.py", "[VERSION, view.key, properties.name, properties.image_digest, *flat]",
             "[VERSION, properties.name, properties.image_digest, *flat]",
             ("tests/preprocessing/test_views.py",), "all views of a case have one digest"),
    Mutation("samunet/preprocessing/views.py", "return matrix / factors", "return matrix * factors",
             ("tests/preprocessing/test_views.py",), "scale of views inverted", True),
    Mutation("samunet/inputs/volumes.py", "slices.mean(1)", "slices[:, 0]",
             ("tests/inputs/test_volumes.py",), "a cell has its first slice's embedding, not the mean"),
    Mutation("samunet/inputs/encoder_input.py", "[slice_ - 1, slice_, slice_ + 1]", "[slice_ + 1, slice_, slice_ - 1]",
             ("tests/inputs/test_encoder_input.py",), "neighbouring slices in reverse order"),
    Mutation("samunet/inputs/quantize.py", "np.rint(values / divisors)", "np.trunc(values / divisors)",
             ("tests/inputs/test_quantize.py",), "int8 codes cut, not rounded"),
    # variants
    Mutation("samunet/variants/losses.py", "total((entropy * valid).sum())", "total(entropy.sum())",
             ("tests/variants/test_losses.py",), "ignored voxels count in the cross entropy"),
    Mutation("samunet/variants/losses.py", "0.5**stage for stage", "1.0 for stage",
             ("tests/variants/test_losses.py", "tests/variants/test_unet.py"),
             "deep supervision weighs all stages alike"),
    Mutation("samunet/registration/fusion.py", "<= REACH_VOXELS**2", "< REACH_VOXELS**2",
             ("tests/registration/test_fusion.py",), "places at the very reach do not vote"),
    Mutation("samunet/variants/label_prior.py", "counts / valid.clamp(min=1e-6), overall",
             "counts / valid.max().clamp(min=1e-6), overall",
             ("tests/variants/test_label_prior.py",), "voxels known to few cases divided by all cases", True),
    # evaluation
    Mutation("samunet/evaluation/surface.py", "np.searchsorted(share, percent / 100)",
             "np.searchsorted(share, percent / 100, side=\"right\")",
             ("tests/evaluation/test_surface.py",), "HD95 takes the distance after the 95 percent"),
    Mutation("samunet/evaluation/surface.py", "self.prediction_mm <= tolerance_mm", "self.prediction_mm < tolerance_mm",
             ("tests/evaluation/test_surface.py",), "NSD leaves out what lies at the tolerance"),
    Mutation("samunet/evaluation/significance.py",
             "np.maximum.accumulate(np.asarray(p_values, float)[order] * factors)",
             "np.asarray(p_values, float)[order] * factors",
             ("tests/evaluation/test_significance.py",), "Holm's p values may fall"),
    Mutation("samunet/evaluation/statistics.py", "if len(patients) < sum(map(len, draws)):", "if False:",
             ("tests/evaluation/test_statistics.py",), "draws resample their common patients apart"),
    Mutation("samunet/evaluation/nearest.py", "    order = order[lengths_mm[order] <= radius_mm]\n", "",
             ("tests/evaluation/test_nearest.py", "tests/evaluation/test_surface.py"),
             "steps beyond the sphere are searched near"),
    Mutation("samunet/evaluation/case_metrics.py", "max(slices.stop, first + 2)", "max(slices.stop, first + 1)",
             ("tests/evaluation/test_case_metrics.py",), "an object in one slice is measured as a 2D contour"),
    # inference
    Mutation("samunet/variants/sliding_window.py", "- size // 2) / (size / 8)", "- (size - 1) / 2) / (size / 8)",
             ("tests/variants/test_sliding_window.py",), "the window's weights peak half a voxel off"),
    Mutation("samunet/inference/export.py",
             "properties.shape_before_cropping[axis] for axis in dataset_plan.transpose_backward",
             "properties.shape_before_cropping[axis] for axis in dataset_plan.transpose_forward",
             ("tests/inference/test_export.py",), "the transpose applied twice instead of undone"),
    Mutation("samunet/inference/export.py", "target[first + slice_]", "target[slice_]",
             ("tests/inference/test_export.py",), "the crop's first slice is not added"),
    Mutation("samunet/variants/prediction.py",
             "logits.flip([axis - 2 for axis in source.mirror]) if source.mirror else logits",
             "logits",
             ("tests/inference/test_predictor.py",), "mirrored logits are not mirrored back"),
    # training
    Mutation("samunet/inputs/sampling.py", "labels.ignore is not None or any(case.partly for case in cases)",
             "labels.ignore is not None",
             ("tests/inputs/test_sampling.py",), "unannotated slices are sampled"),
    Mutation("samunet/training/checkpoints.py", '    optimizer.load_state_dict({"state": moments, "param_groups": '
             'optimizer.state_dict()["param_groups"]})\n', "",
             ("tests/training/test_checkpoints.py",), "the optimiser starts afresh on resume", True),
    Mutation("samunet/inputs/patches.py", "        patch[self._masked] *= segmentation != OUTSIDE\n", "",
             ("tests/inputs/test_patches.py",), "noise outside the non-zero part"),
    Mutation("samunet/inputs/volumes.py", "self._plan.padded, self._plan.cell", "self._plan.shape, self._plan.cell",
             ("tests/inputs/test_volumes.py",), "embeddings warped on another extent than their own", True),
    Mutation("samunet/inputs/sampling.py", "plane - random.integers(depth)", "plane + 1 - random.integers(depth)",
             ("tests/inputs/test_sampling.py",), "a stack may begin behind its slice"),
    Mutation("samunet/training/trainer.py", "SeedSequence([seed, batch.iteration])", "SeedSequence([seed])",
             ("tests/training/test_trainer.py",), "the same dropout in every iteration", True),
    # benchmark
    Mutation("samunet/benchmarking/comparison.py", " and not math.isnan(other[case])", "",
             ("tests/benchmarking/test_comparison.py",), "cases undefined for the reference are compared", True),
    Mutation("samunet/benchmarking/verdict.py", "(len(trials) + 1) // 2", "len(trials) // 2",
             ("tests/benchmarking/test_verdict.py",), "the better half rounded down"),
    Mutation("samunet/benchmarking/verdict.py", "if trial.round in (0, last)", "if trial.round == last",
             ("tests/benchmarking/test_verdict.py",), "what trains nothing is never chosen"),
    # pretraining
    Mutation("samunet/pretraining/mask_objectives.py", "((chance + target) * known)", "(chance + target)",
             ("tests/pretraining/test_mask_objectives.py",), "Dice's denominator counts unknown pixels"),
    Mutation("samunet/pretraining/objectives.py", " & (image[:, :, None] != image[:, None, :])", "",
             ("tests/pretraining/test_objectives.py",), "cells of one image attract each other"),
    Mutation("samunet/pretraining/pretrainer.py",
             "            nn.utils.clip_grad_norm_(module.parameters(), GRADIENT_NORM)\n",
             "            pass\n", ("tests/pretraining/test_pretrainer.py",), "no gradient clipping", True),
    # cli
    Mutation("samunet/cli/figures.py", "(above and number == low)", "False",
             ("tests/cli/test_figures.py",), "a bound that must be exceeded is accepted itself"),
    Mutation("samunet/cli/cache.py", "differing_weights(cache, *weights) if weights else {})", "{})",
             ("tests/cli/test_cache.py",), "embeddings of other weights are not pruned"),
)
