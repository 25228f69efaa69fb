"""Faults of the kind that ruin a study without a crash: each one exact text in one file, and the tests that should see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One seeded fault.

    Args:
        name: What is wrong, in words.
        file: Below `src/lingula`.
        right: Text that occurs exactly once there.
        wrong: What it becomes.
        tests: Test files, below `tests`, that are run against it unless all are.
    """

    name: str
    file: str
    right: str
    wrong: str
    tests: tuple[str, ...]


LOOP = ("training/test_loop.py", "training/test_finite.py")

FAULTS = [
    Fault(
        "language model in train mode: dropout in the targets",
        "models/text_encoder.py",
        "return super().train(mode and not self.frozen and self.drops_out)",
        "return super().train(mode)",
        ("models/test_text_encoder.py",),
    ),
    Fault(
        "pad tokens pooled",
        "models/text_pooling.py",
        "shares = weights.to(states[0].dtype) / weights.sum(dim=1, keepdim=True).clamp_min(1e-6)",
        "shares = torch.full(weights.shape, 1 / weights.shape[1], dtype=states[0].dtype)",
        ("models/test_text_encoder.py",),
    ),
    Fault(
        "stale cache: features of an encoder that has changed since",
        "models/text_cache.py",
        "if self.encoder.fingerprint() != self.fingerprint:",
        "if False:",
        ("models/test_text_cache.py",),
    ),
    Fault(
        "stale cache: one folder for all encoders",
        "models/text_cache.py",
        'self.path = folder / f"{self.fingerprint[:32]}-{dtype}"',
        'self.path = folder / f"encoder-{dtype}"',
        ("models/test_text_cache.py",),
    ),
    Fault(
        "sampler counts drawn instead of consumed steps",
        "training/loop.py",
        "        self.done = step\n",
        "        self.done = min(step + 3, self.steps - 1)\n",
        ("training/test_loop.py",),
    ),
    Fault(
        "optimiser starts anew on resume",
        "training/loop.py",
        '        load_optimiser_state(self.optimiser, state["optimiser"])\n',
        "",
        ("training/test_loop.py",),
    ),
    Fault(
        "order of training the same in every epoch",
        "data/samples.py",
        'generator = random_generator(self._seed, self._epoch, "order")',
        'generator = random_generator(self._seed, "order")',
        ("data/test_samples.py",),
    ),
    Fault(
        "augmentation and text view the same in every epoch",
        "data/loader.py",
        "= [(self.seed, epoch, row_ids[row]) for row in rows]",
        "= [(self.seed, 0, row_ids[row]) for row in rows]",
        ("data/test_loader.py",),
    ),
    Fault(
        "report of the neighbour",
        "data/loader.py",
        "for row, key in zip(rows, keys, strict=True)",
        "for row, key in zip((*rows[1:], rows[0]), keys, strict=True)",
        ("data/test_loader.py",),
    ),
    Fault(
        "every process trains on the same share",
        "data/loader.py",
        "batch = self.build(shares[self.world.rank], epoch)",
        "batch = self.build(shares[0], epoch)",
        ("data/test_loader.py",),
    ),
    Fault(
        "wrong gradient scale in the gather",
        "core/distributed.py",
        "return gradients[0][start : start + ctx.rows] * dist.get_world_size()",
        "return gradients[0][start : start + ctx.rows]",
        ("training/test_ranks.py",),
    ),
    Fault(
        "batch norm on the local batch",
        "models/batch_norm.py",
        "parts = gather(torch.cat([mean, squares, mean.new_tensor([own])])[None])",
        "parts = torch.cat([mean, squares, mean.new_tensor([own])])[None]",
        ("training/test_ranks.py",),
    ),
    Fault(
        "gradient of the batch norm ignores the other processes",
        "models/batch_norm.py",
        "sums = total(torch.stack([for_bias, for_weight])) / count",
        "sums = torch.stack([for_bias, for_weight]) / count",
        ("training/test_ranks.py",),
    ),
    Fault(
        "groups of equal texts of this process only",
        "training/step.py",
        "groups = None if batch.groups is None else gather(batch.groups)",
        "groups = None if batch.groups is None else batch.groups.repeat(len(study_ids) // len(batch))",
        ("training/test_ranks.py",),
    ),
    Fault(
        "accumulation draws other dropout in the second pass",
        "training/grad_cache.py",
        "checkpoint(encode, part.images, use_reentrant=False, context_fn=contexts)",
        "checkpoint(encode, part.images, use_reentrant=False, context_fn=contexts, preserve_rng_state=False)",
        ("training/test_grad_cache.py",),
    ),
    Fault(
        "accumulation counts batch norm statistics twice",
        "training/grad_cache.py",
        "return nullcontext(), _statistics_kept(method)",
        "return nullcontext(), nullcontext()",
        ("training/test_grad_cache.py",),
    ),
    Fault(
        "temperature not clamped",
        "methods/clip.py",
        "self.log_temperature.clamp_(min=math.log(self.config.minimum_temperature))",
        "pass",
        ("methods/test_clip.py",),
    ),
    Fault(
        "contrastive loss in one direction only",
        "objectives/contrastive.py",
        'return forwards if direction == "image-to-text" else',
        'return forwards if direction != "" else',
        ("objectives/test_contrastive.py",),
    ),
    Fault(
        "equal reports are negatives of each other",
        "methods/clip.py",
        'if positives == "one":',
        "if True:",
        ("methods/test_clip.py",),
    ),
    Fault(
        "covariance divided by one less than the batch",
        "objectives/orthogonality.py",
        "rows = _prepare(full_precision(features), form) / batch**0.5",
        "rows = _prepare(full_precision(features), form) / max(batch - 1, 1) ** 0.5",
        ("objectives/test_orthogonality.py",),
    ),
    Fault(
        "unknown labels count as absent",
        "methods/supervised.py",
        "    known = ~labels.isnan()\n    each",
        "    known = torch.ones_like(labels, dtype=torch.bool)\n    each",
        ("methods/test_supervised.py",),
    ),
    Fault(
        "labels shifted by one",
        "data/store_table.py",
        "return self._label_matrix[np.asarray(rows, dtype=np.int64)][:, columns]",
        "return np.roll(self._label_matrix, 1, axis=0)[np.asarray(rows, dtype=np.int64)][:, columns]",
        ("data/test_store.py", "data/test_prepare.py"),
    ),
    Fault(
        "findings in the order of the store, not of the question",
        "data/store_table.py",
        "columns = [self._finding_number(finding) for finding in findings]",
        "columns = sorted(self._finding_number(finding) for finding in findings)",
        ("data/test_store.py",),
    ),
    Fault(
        "split by study instead of by patient",
        "data/prepare.py",
        "_split(study.patient_id, plan, settings)",
        "_split(study.study_id, plan, settings)",
        ("data/test_prepare.py", "data/test_verify.py"),
    ),
    Fault(
        "threshold chosen on test",
        "evaluation/tasks/probe.py",
        "thresholds = thresholds_of(on_val[best, :, columns].T, val, config.threshold)",
        "thresholds = thresholds_of(on_test, targets(store, part.test, findings, config.against), config.threshold)",
        ("evaluation/tasks/test_probe.py",),
    ),
    Fault(
        "zero-shot threshold chosen on test",
        "evaluation/tasks/zero_shot.py",
        "calibration = [np.setdiff1d(cohort.rows, part.test) if config.folds else part.val for part in cohort.partitions]",
        "calibration = [part.test for part in cohort.partitions]",
        ("evaluation/tasks/test_zero_shot.py",),
    ),
    Fault(
        "probe standardised with test data",
        "evaluation/tasks/probe.py",
        'centre, spread = features["train"].mean(axis=0), features["train"].std(axis=0)',
        'centre, spread = features["test"].mean(axis=0), features["test"].std(axis=0)',
        ("evaluation/tasks/test_probe.py",),
    ),
    Fault(
        "query as its own answer",
        "evaluation/tasks/retrieve.py",
        "allowed = study[block, None] != study[None, :]",
        "allowed = np.ones((len(block), len(rows)), dtype=bool)",
        ("evaluation/tasks/test_retrieve.py",),
    ),
    Fault(
        "ties in retrieval go to the right answer",
        "evaluation/ranking.py",
        "return result | {MEDIAN_RANK: above + (tied_wrong + tied_right + 1) / (tied_right + 1)}",
        "return result | {MEDIAN_RANK: above + 1}",
        ("evaluation/test_ranking.py",),
    ),
    Fault(
        "bootstrap over images instead of patients",
        "evaluation/bootstrap.py",
        "names, index = np.unique(np.asarray(patients), return_inverse=True)",
        "names, index = np.arange(len(patients)), np.arange(len(patients))",
        ("evaluation/test_bootstrap.py",),
    ),
    Fault(
        "validation in train mode",
        "training/loop.py",
        "            method.eval()\n",
        "",
        ("training/test_loop.py",),
    ),
    Fault(
        "norms and biases decayed",
        "training/optimisation.py",
        '{"params": [p for p in trainable if p.ndim == 1], "weight_decay": config.weight_decay * config.decay_vectors}',
        '{"params": [p for p in trainable if p.ndim == 1], "weight_decay": config.weight_decay}',
        ("training/test_optimisation.py",),
    ),
    Fault(
        "loss that is not finite reaches the weights",
        "training/loop.py",
        '        check_finite(losses.total, "loss", item, self.run_folder, self.checkpoints)\n',
        "",
        LOOP,
    ),
    Fault(
        "poisoned weights are written",
        "core/checkpoint.py",
        'if bad := names_of_non_finite({"weights": weights, "state": state}):',
        'if bad := names_of_non_finite({"state": state}):',
        ("core/test_hostile_checkpoints.py",),
    ),
    Fault(
        "best checkpoint has the highest loss",
        "training/loop.py",
        "better = loss < (self.best[1] if self.best else math.inf)",
        "better = loss > (self.best[1] if self.best else -math.inf)",
        ("training/test_loop.py",),
    ),
    Fault(
        "early stopping on the test rows",
        "evaluation/tasks/fine_tune.py",
        "fine_tune(copied, store, cohort.findings, config, train, part.val, seed)",
        "fine_tune(copied, store, cohort.findings, config, train, part.test, seed)",
        ("evaluation/tasks/test_fine_tune.py",),
    ),
    Fault(
        "weights of the last validation instead of the best",
        "evaluation/fine_tuning.py",
        "    network.load_state_dict(best_weights)\n",
        "",
        ("evaluation/tasks/test_fine_tune.py",),
    ),
    Fault(
        "fine-tuning changes the encoder it was given",
        "inference.py",
        "encoder = copy.deepcopy(self.method.image_encoder)",
        "encoder = self.method.image_encoder",
        ("test_demo.py",),
    ),
    Fault(
        "jackknife over images instead of patients",
        "evaluation/geometry.py",
        "names, index = np.unique(np.asarray(patients), return_inverse=True)",
        "names, index = np.arange(len(patients)), np.arange(len(patients))",
        ("evaluation/test_geometry.py",),
    ),
    Fault(
        "predict keeps the border that the store cut off",
        "data/reading.py",
        "to_depth(pixels[self.inside(pixels)], self.bit_depth)",
        "to_depth(pixels, self.bit_depth)",
        ("test_reading_alike.py",),
    ),
    Fault(
        "whitening counts texts in evaluation",
        "models/whitening.py",
        "            if self.training:\n",
        "            if True:\n",
        ("models/test_whitening.py",),
    ),
    Fault(
        "quantile of a pseudo mask over the whole image instead of the body",
        "objectives/pseudo_masks.py",
        "limit = masked_quantile(maps, inside, 0.5",
        "limit = masked_quantile(maps, torch.ones_like(inside), 0.5",
        ("objectives/test_pseudo_masks.py",),
    ),
    Fault(
        "a bad image of another process is not named",
        "training/finite.py",
        "everywhere = gather(bad.to(device)).tolist()",
        "everywhere = bad.tolist() * (len(item.study_ids) // len(bad))",
        ("training/test_ranks.py",),
    ),
    Fault(
        "norm of the gradients of this process's share alone",
        "training/parallel.py",
        "norm = (total(_sum_of_squares(shared)) +",
        "norm = (_sum_of_squares(shared) +",
        ("training/test_ranks.py",),
    ),
    Fault(
        "a resumed run forgets its lowest validation loss",
        "training/loop.py",
        "self.best = (int(best[0]), float(best[1])) if best else None",
        "self.best = None",
        ("training/test_loop.py",),
    ),
    Fault(
        "statistics of the whitening are not in the checkpoint",
        "models/whitening.py",
        'self.register_buffer("covariance", torch.eye(dimension))',
        'self.register_buffer("covariance", torch.eye(dimension), persistent=False)',
        ("training/test_resume_every_method.py",),
    ),
    Fault(
        "steps that fp16 skips are not counted",
        "training/finite.py",
        "self.skipped += 1",
        "self.skipped += 0",
        ("training/test_finite.py",),
    ),
    Fault(
        "MONOCHROME1 is read as MONOCHROME2",
        "data/dicom_values.py",
        'if dataset.PhotometricInterpretation == "MONOCHROME1":',
        'if dataset.PhotometricInterpretation == "MONOCHROME":',
        ("data/test_dicom.py",),
    ),
    Fault(
        "identifiers hashed without the salt",
        "data/identifiers.py",
        "hmac.new(self.salt,",
        'hmac.new(b"",',
        ("data/test_identifiers.py",),
    ),
    Fault(
        "instance numbers of DICOM headers in the store",
        "data/sources/dicom_folder.py",
        "for name in {*KEYS, *named.values()}",
        "for name in {*KEYS[1:], *named.values()}",
        ("data/sources/test_dicom_folder.py",),
    ),
    Fault(
        "a store that another process is writing is written too",
        "core/lock.py",
        "    except BlockingIOError:\n        return False",
        "    except BlockingIOError:\n        return True",
        ("core/test_lock.py",),
    ),
    Fault(
        "axes of the rotary places swapped",
        "models/rotary.py",
        'torch.meshgrid(places, indexing="ij"), dim=-1)',
        'torch.meshgrid(places, indexing="ij")[::-1], dim=-1)',
        ("models/test_rotary.py", "models/test_volume_encoder.py"),
    ),
    Fault(
        "padding in the query of the text pooling",
        "models/attention_pool_1d.py",
        "query = (tokens * shares).sum(dim=1, keepdim=True) / shares.sum(dim=1, keepdim=True)",
        "query = tokens.mean(dim=1, keepdim=True)",
        ("models/test_attention_pool_1d.py",),
    ),
    Fault(
        "visible voxels in the loss of masked volumes",
        "objectives/masked_image.py",
        "hidden.scatter(1, kept, False)",
        "hidden",
        ("objectives/test_masked_image.py",),
    ),
    Fault(
        "loss of masked volumes: two axes of the patches swapped",
        "objectives/masked_image.py",
        "cut.permute(0, 2, 4, 6, 1, 3, 5, 7)",
        "cut.permute(0, 4, 2, 6, 1, 3, 5, 7)",
        ("objectives/test_masked_image.py",),
    ),
    Fault(
        "opposite sentences pull the wrong way",
        "objectives/opposite_sentence.py",
        "torch.where(valid, 1 - 2 * labels, 0)",
        "torch.where(valid, 2 * labels - 1, 0)",
        ("objectives/test_opposite_sentence.py",),
    ),
    Fault(
        "padding counts in the loss of the report",
        "objectives/report_generation.py",
        "torch.where(report.mask[:, 1:], errors, 0.0).sum(dim=1)",
        "errors.sum(dim=1)",
        ("objectives/test_report_generation.py",),
    ),
    Fault(
        "each word of the report sees itself",
        "objectives/report_generation.py",
        "full_precision(logits[:, :-1]), report.ids[:, 1:]",
        "full_precision(logits[:, 1:]), report.ids[:, 1:]",
        ("objectives/test_report_generation.py",),
    ),
    Fault(
        "intercept of a CT series forgotten",
        "data/dicom_series.py",
        "stored.astype(kind) * kind(slope) + kind(intercept)",
        "stored.astype(kind) * kind(slope)",
        ("data/test_dicom_series.py",),
    ),
]
