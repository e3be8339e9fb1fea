"""Losses of chatspot-tiny's dialogue stage: of its answers, and auxiliary ones that make it learn
region reference fast. The heads of the auxiliary losses are discarded after training."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlavaForConditionalGeneration
from transformers.models.llama.modeling_llama import rotate_half

from chatspot_ros.chatspot_tiny.detection_features import told_kind
from chatspot_sim.kitchen import THING_KINDS
from chatspot_train.common.labels import IGNORE
from chatspot_train.tiny.dialogue_dataset import MAX_COUNT

REGION_LAYER = 2  # after this many layers a region's last token must know its patches
COORDINATE_SPREAD = 1.0  # standard deviation, in coordinate steps, of the target around the truth
DISTANCE_WEIGHT = 0.05  # of the distance of a coordinate from the truth
LOOK_UP_WEIGHT = 0.5  # of the attention from a word for a kind of thing to that kind's patches


class DialogueLosses(nn.Module):
    """The language model on the frozen tower's features, with auxiliary heads.

    Region in a question: after REGION_LAYER layers its last token must tell which image tokens it
    covers, one layer later their mean features, two layers later the kind of thing in it.
    Box in an answer: the token that opens it, and the one before, must tell the same one layer
    later each, and the box's corners.
    Counts: the image's last token must tell the count of every kind of thing; a word for a kind, in
    a question about the whole image, the count of that kind. Where the tower has a detector
    (`chatspot_ros.chatspot_tiny.detection_features`), one attention head is trained to look from
    that word to the patches that hold the detector's output for the kind (docs/adr/0017).

    `coordinates` are the token numbers of the coordinates, in order; see `coordinate_loss`.
    """

    _keys_to_ignore_on_save = None  # read by transformers' Trainer when it resumes

    def __init__(
        self, model: LlavaForConditionalGeneration, coordinates: range = range(0),
        auxiliary_weight: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.coordinates = coordinates
        self.model = model
        self.auxiliary_weight = auxiliary_weight
        width = model.config.get_text_config().hidden_size
        feature_width = model.model.multi_modal_projector.linear_1.in_features
        self.region_query = nn.Linear(width, width)
        self.region_key = nn.Linear(width, width)
        self.mask_bias = nn.Parameter(torch.tensor(-2.0))
        self.region_features = nn.Linear(width, feature_width)
        self.box_query = nn.Linear(width, width)
        self.box_key = nn.Linear(width, width)
        self.box_features = nn.Linear(width, feature_width)
        self.box_corners = nn.Linear(width, 4)
        self.region_kind = nn.Linear(width, len(THING_KINDS))
        self.all_counts = nn.Linear(width, len(THING_KINDS) * (MAX_COUNT + 1))
        self.word_count = nn.Linear(width, MAX_COUNT + 1)
        self.detector_kinds = int(getattr(model.config.vision_config, "thing_kinds", 0))

    def forward(
        self, input_ids: Tensor, labels: Tensor, features: Tensor | None = None, **targets: Tensor
    ) -> dict[str, Tensor]:
        """Return the loss, and as `logits` the counts of right and of all answer tokens.

        Takes a batch of dialogue_dataset.make_collator. Without `features` (B x P x width) the
        loss is that of the answers alone.
        """
        inner = self.model.model
        embeds = inner.get_input_embeddings()(input_ids)
        image = input_ids == self.model.config.image_token_id
        if features is not None:
            seen = inner.multi_modal_projector(features).to(embeds.dtype)
            embeds = embeds.masked_scatter(image[..., None], seen)
        # No mask: padding comes after all counted tokens, and causal attention never looks ahead.
        out = inner.language_model(inputs_embeds=embeds, output_hidden_states=True, use_cache=False)
        target = labels[:, 1:]
        asked = target != IGNORE
        logits = self.model.lm_head(out.last_hidden_state[:, :-1][asked]).float()
        right = target[asked]
        loss = answer_loss(logits, right, self.coordinates)
        said = logits.argmax(-1).eq(right).float().sum()
        hits = torch.stack([said, said.new_tensor(right.numel())])
        if features is not None and len(targets["region_rows"]) and self.auxiliary_weight:
            loss = loss + self.auxiliary_weight * self._auxiliary_loss(
                out.hidden_states, image, features, targets
            )
        return {"loss": loss, "logits": hits[None, None]}

    def _auxiliary_loss(
        self, hidden: tuple[Tensor, ...], image: Tensor, features: Tensor,
        targets: dict[str, Tensor],
    ) -> Tensor:  # fmt: skip
        """Return the sum of all auxiliary losses from the hidden states of all layers."""
        first, second = hidden[REGION_LAYER], hidden[REGION_LAYER + 1]
        third = hidden[min(REGION_LAYER + 2, len(hidden) - 1)]
        rows, ends, masks = (targets[f"region_{name}"] for name in ("rows", "ends", "masks"))
        mask = self._mask_loss(first, image, rows, ends, masks, self.region_query, self.region_key)
        if len(targets["box_starts"]):
            mask = self._add_box_loss(mask, second, third, image, features, targets)
        pooled = self._feature_loss(second, features, rows, ends, masks, self.region_features)
        count = self._count_loss(second, image, targets["kind_counts"])
        if len(targets["kind_words"]):
            word_rows, words, kinds = (
                targets[name] for name in ("word_rows", "kind_words", "word_kinds")
            )
            counts = targets["kind_counts"][word_rows, kinds]
            count = count + self._word_count_loss(second[word_rows, words], counts)
            if self.detector_kinds:
                count = count + LOOK_UP_WEIGHT * self._look_up_loss(
                    first, image, word_rows, words, kinds
                )
        kind = self._kind_loss(third[rows, ends], targets["region_kinds"])
        return mask + pooled + count + 0.3 * kind

    def _add_box_loss(
        self, loss: Tensor, second: Tensor, third: Tensor, image: Tensor, features: Tensor,
        targets: dict[str, Tensor],
    ) -> Tensor:  # fmt: skip
        """Add the losses of boxes in answers to `loss`."""
        rows, starts, masks = targets["box_rows"], targets["box_starts"], targets["box_masks"]
        loss = loss + 0.5 * self._mask_loss(
            second, image, rows, starts, masks, self.box_query, self.box_key
        )
        loss = loss + 0.5 * self._feature_loss(
            third, features, rows, starts, masks, self.box_features
        )
        corners = self.box_corners(third[rows, starts]).float()
        return loss + 2.0 * (corners - targets["boxes"]).abs().mean()

    def _kind_loss(self, hidden: Tensor, kinds: Tensor) -> Tensor:
        """Return the mean cross entropy of the kind of thing in N regions; N x width states."""
        costs = F.cross_entropy(
            self.region_kind(hidden).float(), kinds, ignore_index=IGNORE, reduction="sum"
        )
        return costs / kinds.ne(IGNORE).sum().clamp(1)

    def _count_loss(self, hidden: Tensor, image: Tensor, counts: Tensor) -> Tensor:
        """Return the loss of the counts of all kinds, told by the image's last token."""
        last = image.shape[1] - 1 - image.flip(1).int().argmax(1)
        scores = self.all_counts(
            hidden[torch.arange(len(hidden), device=hidden.device), last]
        ).float()
        return 0.5 * F.cross_entropy(
            scores.reshape(-1, MAX_COUNT + 1), counts.flatten(), ignore_index=IGNORE
        )

    def _word_count_loss(self, hidden: Tensor, counts: Tensor) -> Tensor:
        """Return the mean loss of the counts of N words' kinds; N x width states."""
        scores = self.word_count(hidden).float()
        costs = F.cross_entropy(scores, counts, ignore_index=IGNORE, reduction="sum")
        return costs / counts.ne(IGNORE).sum().clamp(1)

    def _look_up_loss(
        self, hidden: Tensor, image: Tensor, rows: Tensor, words: Tensor, kinds: Tensor
    ) -> Tensor:
        """Return the loss that makes the next layer's last head attend from a word for a kind to
        the patches that hold the detector's output for the kind; a mean over N words.

        Without this loss no head learned it in hundreds of steps (docs/adr/0017).
        """
        language = self.model.model.language_model
        layer = cast(Any, language.layers)[REGION_LAYER]
        size = layer.self_attn.head_dim
        shown = layer.input_layernorm(hidden)
        queries = F.linear(shown[rows, words], layer.self_attn.q_proj.weight[-size:])
        keys = F.linear(shown, layer.self_attn.k_proj.weight[-size:])
        positions = torch.arange(hidden.shape[1], device=hidden.device)
        cos, sin = (one[0] for one in language.rotary_emb(hidden, positions[None]))
        queries = queries * cos[words] + rotate_half(queries) * sin[words]
        keys = keys * cos + rotate_half(keys) * sin
        scores = torch.einsum("nd,ntd->nt", queries, keys[rows]).float() / size**0.5
        scores = scores.masked_fill(positions > words[:, None], -torch.inf)
        told = torch.full_like(image, -1, dtype=torch.long)
        patches = int(image[0].sum())
        told[image] = told_kind(patches, self.detector_kinds).to(image.device).repeat(len(image))
        right = told[rows] == kinds[:, None]
        found = scores.masked_fill(~right, -torch.inf).logsumexp(-1)
        return (scores.logsumexp(-1) - found).mean()

    def _feature_loss(
        self, hidden: Tensor, features: Tensor, rows: Tensor, tokens: Tensor, masks: Tensor,
        head: nn.Linear,
    ) -> Tensor:  # fmt: skip
        """Return the squared error of the mean feature under N masks, told by N tokens."""
        weights = masks / masks.sum(1, keepdim=True)
        shown = torch.einsum("np,npd->nd", weights, features.float()[rows])
        return F.mse_loss(head(hidden[rows, tokens]).float(), shown)

    def _mask_loss(
        self, hidden: Tensor, image: Tensor, rows: Tensor, tokens: Tensor, masks: Tensor,
        query: nn.Linear, key: nn.Linear,
    ) -> Tensor:  # fmt: skip
        """Return the loss of N masks over the image tokens, told by N tokens' queries."""
        patches = hidden[image].reshape(len(hidden), masks.shape[1], -1)
        queries = query(hidden[rows, tokens])
        scores = torch.einsum("nd,npd->np", queries, key(patches)[rows]).float()
        scores = scores / hidden.shape[-1] ** 0.5 + self.mask_bias
        return F.binary_cross_entropy_with_logits(scores, masks) * 3


def answer_loss(logits: Tensor, right: Tensor, coordinates: range) -> Tensor:
    """Return the mean cross entropy of N x V scores; coordinate tokens use `coordinate_loss`."""
    costs = F.cross_entropy(logits, right, reduction="none")
    number = right - coordinates.start
    among = (number >= 0) & (number < len(coordinates))
    if not bool(among.any()):
        return costs.mean()
    chances = logits[among].log_softmax(-1)[:, coordinates.start : coordinates.stop]
    return (costs[~among].sum() + coordinate_loss(chances, number[among]).sum()) / len(costs)


def coordinate_loss(log_probabilities: Tensor, right: Tensor) -> Tensor:
    """Return the loss of N x C log probabilities of ordered coordinates; `right` and result are N.

    A coordinate next to the right one costs little: the loss is the cross entropy to a narrow
    Gaussian around the right one, plus the squared distance of the cumulative probabilities, which
    grows with the error (Hou et al., "Squared Earth Mover's Distance-based Loss", 2016).
    """
    steps = torch.arange(log_probabilities.shape[1], device=log_probabilities.device)
    target = (-0.5 * ((steps - right[:, None]) / COORDINATE_SPREAD) ** 2).exp()
    target = target / target.sum(-1, keepdim=True)
    near = -(target * log_probabilities).sum(-1)
    apart = (log_probabilities.exp().cumsum(-1) - target.cumsum(-1)).square().sum(-1)
    return near + DISTANCE_WEIGHT * apart


def hit_rate(prediction: object) -> dict[str, float]:
    """Return the share of answer tokens that are right, from the hit counts."""
    counts = torch.as_tensor(getattr(prediction, "predictions")).reshape(-1, 2).sum(0)  # noqa: B009
    return {"tokens_right": float(counts[0] / counts[1])}
