"""What chatspot-tiny is asked while it learns dialogues: its answers, and besides them what makes
region reference learn fast. The heads for that are thrown away afterwards."""

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
from chatspot_train.tiny.dialogue_dataset import MOST

SEEN_LAYER = 2  # after this many layers a region's last token must know its patches
COORDINATE_SPREAD = 1.0  # steps of a coordinate by which it may be off as if it were right
FAR_OFF = 0.05  # weight of how far off a coordinate is
LOOK_UP = 0.5  # weight of where a word for a kind of thing looks


class RegionTeacher(nn.Module):
    """The language model on the frozen tower's features, with a head thrown away afterwards.

    Auxiliary heads ask the hidden state of each region's last token: after SEEN_LAYER layers, which
    image tokens the region covers; one layer on, what they show, and another on, which kind of
    thing is meant. Where an answer opens a box, and at the token before, they ask the same a layer
    later each: which image tokens that box will cover, what those show, and where it lies. The
    picture's last token, which has seen all of it, is asked how many things of each kind there are,
    and a word for a kind of thing, in a question about the whole picture, how many of that kind.
    Where the tower says so, patch by patch (`chatspot_ros.chatspot_tiny.detection_features`), one
    head of the layer before is asked to look there (docs/adr/0017).

    `coordinates` are the numbers of the tokens that say coordinates, in order. To their loss a
    number beside the right one is nearly right (see `coordinate_loss`).
    """

    _keys_to_ignore_on_save = None  # transformers' Trainer asks for it when it resumes

    def __init__(
        self, model: LlavaForConditionalGeneration, coordinates: range = range(0),
        auxiliary_weight: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.coordinates = coordinates
        self.model = model
        self.auxiliary_weight = auxiliary_weight
        width = model.config.get_text_config().hidden_size
        seen = model.model.multi_modal_projector.linear_1.in_features
        self.ask = nn.Linear(width, width)
        self.answer = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.tensor(-2.0))
        self.gather = nn.Linear(width, seen)
        self.seek = nn.Linear(width, width)
        self.offer = nn.Linear(width, width)
        self.find = nn.Linear(width, seen)
        self.lies = nn.Linear(width, 4)
        self.name = nn.Linear(width, len(THING_KINDS))
        self.count = nn.Linear(width, len(THING_KINDS) * (MOST + 1))
        self.count_of_one = nn.Linear(width, MOST + 1)
        vision = model.config.vision_config
        self.told_kinds = int(getattr(vision, "thing_kinds", 0))

    def forward(
        self, input_ids: Tensor, labels: Tensor, rows: Tensor,
        places: Tensor, covers: Tensor, names: Tensor, sought_rows: Tensor,
        sought: Tensor, sought_covers: Tensor, sought_boxes: Tensor, counts: Tensor,
        mention_rows: Tensor, mentions: Tensor, mentioned: Tensor,
        features: Tensor | None = None,
    ) -> dict[str, Tensor]:  # fmt: skip
        inner = self.model.model
        embeds = inner.get_input_embeddings()(input_ids)
        image = input_ids == self.model.config.image_token_id
        if features is not None:
            seen = inner.multi_modal_projector(features).to(embeds.dtype)
            embeds = embeds.masked_scatter(image[..., None], seen)
        # No mask: what pads a row comes after all that counts, and the fused attention skips half.
        out = inner.language_model(inputs_embeds=embeds, output_hidden_states=True, use_cache=False)
        target = labels[:, 1:]
        asked = target != IGNORE
        logits = self.model.lm_head(out.last_hidden_state[:, :-1][asked]).float()
        right = target[asked]
        loss = answer_loss(logits, right, self.coordinates)
        hits = torch.stack([logits.argmax(-1).eq(right).float().sum(), torch.tensor(right.numel())])
        if features is not None and len(rows) and self.auxiliary_weight:
            hidden = out.hidden_states
            cover = self._cover_loss(
                hidden[SEEN_LAYER], image, rows, places, covers, self.ask, self.answer
            )
            if len(sought):
                cover = cover + 0.5 * self._cover_loss(
                    hidden[SEEN_LAYER + 1], image, sought_rows, sought, sought_covers,
                    self.seek, self.offer,
                )  # fmt: skip
                cover = cover + 0.5 * self._gather_loss(
                    hidden[min(SEEN_LAYER + 2, len(hidden) - 1)],
                    features,
                    sought_rows,
                    sought,
                    sought_covers,
                    self.find,
                )
                knows = hidden[min(SEEN_LAYER + 2, len(hidden) - 1)][sought_rows, sought]
                cover = cover + 2.0 * (self.lies(knows).float() - sought_boxes).abs().mean()
            gather = self._gather_loss(
                hidden[SEEN_LAYER + 1], features, rows, places, covers, self.gather
            )
            count = self._count_loss(hidden[SEEN_LAYER + 1], image, counts)
            if len(mentions):
                count = count + self._mention_loss(
                    hidden[SEEN_LAYER + 1][mention_rows, mentions], counts[mention_rows, mentioned]
                )
                if self.told_kinds:
                    count = count + LOOK_UP * self._look_up_loss(
                        hidden[SEEN_LAYER], image, mention_rows, mentions, mentioned
                    )
            known = hidden[min(SEEN_LAYER + 2, len(hidden) - 1)][rows, places]
            name = F.cross_entropy(
                self.name(known).float(), names, ignore_index=IGNORE, reduction="sum"
            ) / names.ne(IGNORE).sum().clamp(1)
            loss = loss + self.auxiliary_weight * (cover + gather + count + 0.3 * name)
        return {"loss": loss, "logits": hits[None, None]}

    def _count_loss(self, hidden: Tensor, image: Tensor, counts: Tensor) -> Tensor:
        """The picture's last token must know how many there are of each kind."""
        last = image.shape[1] - 1 - image.flip(1).int().argmax(1)
        scores = self.count(hidden[torch.arange(len(hidden)), last]).float()
        return 0.5 * F.cross_entropy(
            scores.reshape(-1, MOST + 1), counts.flatten(), ignore_index=IGNORE
        )

    def _mention_loss(self, hidden: Tensor, counts: Tensor) -> Tensor:
        """The word for a kind of thing must know how many of it there are; a mean over N words."""
        scores = self.count_of_one(hidden).float()
        costs = F.cross_entropy(scores, counts, ignore_index=IGNORE, reduction="sum")
        return costs / counts.ne(IGNORE).sum().clamp(1)

    def _look_up_loss(
        self, hidden: Tensor, image: Tensor, rows: Tensor, words: Tensor, kinds: Tensor
    ) -> Tensor:
        """One head of the next layer must look from a word for a kind at the patches that tell of
        that kind; a mean over N words.

        Unasked, it was not found in hundreds of steps (docs/adr/0017).
        """
        language = self.model.model.language_model
        layer = cast(Any, language.layers)[SEEN_LAYER]
        size = layer.self_attn.head_dim
        shown = layer.input_layernorm(hidden)
        asks = F.linear(shown[rows, words], layer.self_attn.q_proj.weight[-size:])
        offers = F.linear(shown, layer.self_attn.k_proj.weight[-size:])
        places = torch.arange(hidden.shape[1], device=hidden.device)
        cos, sin = (one[0] for one in language.rotary_emb(hidden, places[None]))
        asks = asks * cos[words] + rotate_half(asks) * sin[words]
        offers = offers * cos + rotate_half(offers) * sin
        scores = torch.einsum("nd,ntd->nt", asks, offers[rows]).float() / size**0.5
        scores = scores.masked_fill(places > words[:, None], -torch.inf)
        tells = torch.full_like(image, -1, dtype=torch.long)
        patches = int(image[0].sum())
        tells[image] = told_kind(patches, self.told_kinds).to(image.device).repeat(len(image))
        right = tells[rows] == kinds[:, None]
        found = scores.masked_fill(~right, -torch.inf).logsumexp(-1)
        return (scores.logsumexp(-1) - found).mean()

    def _gather_loss(
        self, hidden: Tensor, features: Tensor, rows: Tensor, places: Tensor, covers: Tensor,
        head: nn.Linear,
    ) -> Tensor:  # fmt: skip
        """One layer on, the token must hold the mean of what the region's patches show."""
        weights = covers / covers.sum(1, keepdim=True)
        shown = torch.einsum("np,npd->nd", weights, features.float()[rows])
        return F.mse_loss(head(hidden[rows, places]).float(), shown)

    def _cover_loss(
        self, hidden: Tensor, image: Tensor, rows: Tensor, places: Tensor, covers: Tensor,
        ask: nn.Linear, answer: nn.Linear,
    ) -> Tensor:  # fmt: skip
        patches = hidden[image].reshape(len(hidden), covers.shape[1], -1)
        queries = ask(hidden[rows, places])
        scores = torch.einsum("nd,npd->np", queries, answer(patches)[rows]).float()
        scores = scores / hidden.shape[-1] ** 0.5 + self.bias
        return F.binary_cross_entropy_with_logits(scores, covers) * 3


def answer_loss(logits: Tensor, right: Tensor, coordinates: range) -> Tensor:
    """Mean cross entropy of N x V scores; that of tokens in `coordinates` as `coordinate_loss`."""
    costs = F.cross_entropy(logits, right, reduction="none")
    number = right - coordinates.start
    among = (number >= 0) & (number < len(coordinates))
    if not bool(among.any()):
        return costs.mean()
    chances = logits[among].log_softmax(-1)[:, coordinates.start : coordinates.stop]
    return (costs[~among].sum() + coordinate_loss(chances, number[among]).sum()) / len(costs)


def coordinate_loss(chances: Tensor, right: Tensor) -> Tensor:
    """How wrong N x C log probabilities of coordinates in order are, given the right ones; N.

    The cross entropy to a narrow bell around the right one, and the squared distance of the
    cumulated probabilities, which grows with how far off the guess is (Hou et al., "Squared Earth
    Mover's Distance-based Loss", 2016).
    """
    steps = torch.arange(chances.shape[1], device=chances.device) - right[:, None]
    bell = (-0.5 * (steps / COORDINATE_SPREAD) ** 2).exp()
    bell = bell / bell.sum(-1, keepdim=True)
    near = -(bell * chances).sum(-1)
    apart = (chances.exp().cumsum(-1) - bell.cumsum(-1)).square().sum(-1)
    return near + FAR_OFF * apart


def hit_rate(prediction: object) -> dict[str, float]:
    """Share of answer tokens right, from the hit counts."""
    counts = torch.as_tensor(getattr(prediction, "predictions")).reshape(-1, 2).sum(0)  # noqa: B009
    return {"tokens_right": float(counts[0] / counts[1])}
