"""The ways of looking inside, by name, with what each shows. Standard library only."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Visualization:
    """A way of looking inside.

    Attributes:
        title: what a newcomer would call it.
        shows: what its drawing shows.
        needs: "nothing" but the model, "images", or "labels" of images too.
    """

    title: str
    shows: str
    needs: str = "images"


VISUALIZATIONS = {
    "filters": Visualization("Filters", "What each filter of a convolution multiplies its window with.", "nothing"),
    "features": Visualization("Feature maps", "What a layer gives for the first image, a tile a channel."),
    "deconv": Visualization(
        "What excites single units",
        "The images that excite units of a layer most, as far as the units see, beside what of them does so: the "
        "activation projected down to the pixels by a deconvnet. Zeiler and Fergus 2014, figure 2.",
    ),
    "cam": Visualization(
        "Where it looks",
        "Where the evidence for the class lies: the class activation map, whose mean plus the bias is the logit; for "
        "networks that do not end with a global average pool, Grad-CAM.",
    ),
    "occlusion": Visualization(
        "Which parts it needs",
        "What the network says with a part of the image hidden: the probability of the class, and the predicted "
        "class. Zeiler and Fergus 2014, figure 7.",
    ),
    "saliency": Visualization(
        "Which pixels it reacts to",
        "Which pixels the class's score reacts to most: its gradient. Simonyan et al. 2013.",
    ),
    "guided": Visualization(
        "Guided gradient", "The gradient that passes each ReLU only where it is positive. Springenberg et al. 2015."
    ),
    "invariance": Visualization(
        "What happens when the image moves",
        "How far features of the first and the last layer move, and what becomes of the class, as the image is "
        "shifted, enlarged or rotated. Zeiler and Fergus 2014, figure 5.",
    ),
    "activity": Visualization(
        "Activity of the units", "Which units never were above zero for these images, and how sparse the layers are."
    ),
    "gradients": Visualization(
        "Gradients", "How much of the loss's gradient reaches the weights of each layer.", "labels"
    ),
    "embedding": Visualization(
        "Images by their features",
        "The images as points: the last layer's features, in the two directions in which they vary most.",
        "labels",
    ),
}
