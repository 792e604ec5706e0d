"""The ways of looking inside, by name, with what each shows. Standard library only."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Kind:
    """A way of looking inside.

    Attributes:
        title: what a newcomer would call it.
        shows: what its drawing shows.
        needs: "nothing" but the model, "pictures", or "labels" of pictures too.
    """

    title: str
    shows: str
    needs: str = "pictures"


KINDS = {
    "filters": Kind("Filters", "What each filter of a convolution multiplies its window with.", "nothing"),
    "features": Kind("Feature maps", "What a layer gives for the first image, a tile a channel."),
    "deconv": Kind(
        "What excites single units",
        "The images that excite units of a layer most, as far as the units see, beside what of them does so: the "
        "activation projected down to the pixels by a deconvnet. Zeiler and Fergus 2014, figure 2.",
    ),
    "cam": Kind(
        "Where it looks",
        "Where the evidence for the class lies: the class activation map, whose mean plus the bias is the logit; for "
        "networks that do not end with a global average pool, Grad-CAM.",
    ),
    "occlusion": Kind(
        "Which parts it needs",
        "What the network says with a part of the image hidden: the probability of the class, and the predicted "
        "class. Zeiler and Fergus 2014, figure 7.",
    ),
    "saliency": Kind(
        "Which pixels it reacts to",
        "Which pixels the class's score reacts to most: its gradient. Simonyan et al. 2013.",
    ),
    "guided": Kind(
        "Guided gradient", "The gradient that passes each ReLU only where it is positive. Springenberg et al. 2015."
    ),
    "invariance": Kind(
        "What happens when the image moves",
        "How far features of the first and the last layer move, and what becomes of the class, as the image is "
        "shifted, enlarged or rotated. Zeiler and Fergus 2014, figure 5.",
    ),
    "activity": Kind(
        "Activity of the units", "Which units never were above zero for these images, and how sparse the layers are."
    ),
    "gradients": Kind("Gradients", "How much of the loss's gradient reaches the weights of each layer.", "labels"),
    "embedding": Kind(
        "Images by their features",
        "The images as points: the last layer's features, in the two directions in which they vary most.",
        "labels",
    ),
}
